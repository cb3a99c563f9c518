"""The page for people who use it by keyboard, by ear, enlarged, or in the colours of their system.

Each test leads one page through its states, which tests/browser/states.py has.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.axe import violations
from tests.browser.conftest import watch_for_faults
from tests.browser.states import states
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.browser

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAYS: tuple[dict[str, Any], ...] = (
    {"viewport": NARROW, "color_scheme": "dark"},
    {"viewport": WIDE, "color_scheme": "dark"},
    {"viewport": NARROW, "color_scheme": "light", "locale": "zh-CN"},
    {"viewport": WIDE, "forced_colors": "active"},
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server with an empty queue, where what arrives is dealt with at once."""
    with RunningServer(tmp_path, "settled") as server:
        yield server.address


@pytest.fixture
def ways() -> dict[str, Any]:
    return {"viewport": WIDE}


@pytest.fixture
def page(browser: Browser, server: str, ways: dict[str, Any]) -> Iterator[Page]:
    # axe writes styles of its own, which the page's policy forbids; the other tests see that the page keeps to it.
    context = browser.new_context(bypass_csp=True, **{"locale": "en-US", "reduced_motion": "reduce", **ways})
    page = context.new_page()
    faults = watch_for_faults(page)
    page.goto(server)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    context.close()
    assert faults == []


def in_every_state(page: Page) -> dict[str, list[str]]:
    found = {state: violations(page) for state in states(page)}
    return {state: each for state, each in found.items() if each}


def test_axe_finds_nothing_in_any_state(page: Page) -> None:
    assert in_every_state(page) == {}


@pytest.mark.slow
@pytest.mark.parametrize("ways", WAYS)
def test_axe_finds_nothing_in_any_state_in_other_windows_and_colours(page: Page) -> None:
    assert in_every_state(page) == {}
