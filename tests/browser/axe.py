"""The rules of axe-core: what people with a screen reader, a keyboard or weak eyes would stumble over on a page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.paths import ROOT

_SOURCE = ROOT / "node_modules/axe-core/axe.min.js"
# What still fades in has no contrast yet.
_FINISH_ANIMATIONS = (
    "document.getAnimations().forEach((each) => each.effect.getTiming().iterations < 9 && each.finish())"
)
_RUN = """async (rules) => {
    const found = await axe.run(document, {resultTypes: ['violations'], ...(rules && {runOnly: rules})})
    return found.violations.flatMap(({id, help, nodes}) =>
        nodes.map(({target, html, any}) => `${id}: ${help}: ${target} ${html.slice(0, 160)} ${any[0]?.message ?? ''}`))
}"""


def violations(page: Page, *rules: str) -> list[str]:
    """All of them, or those of the rules with these names."""
    if not _SOURCE.is_file():
        pytest.skip("axe-core is not installed: npm ci")
    if not page.evaluate("'axe' in window"):
        page.evaluate(_SOURCE.read_text(encoding="utf-8"))
    page.evaluate(_FINISH_ANIMATIONS)
    found: list[str] = page.evaluate(_RUN, list(rules) or None)
    return found
