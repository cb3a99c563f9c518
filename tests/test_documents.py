"""Every link between the documents leads somewhere: the file is there, and so is the heading."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests" / "data").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = "benchmarks|deploy|docs|optimizer|static|tests|tools|web|whisper_core"
PATH = re.compile(rf"(?<![\w/.])((?:{FOLDERS})/[\w./-]+\.(?:css|flac|js|json|md|mjs|py|svg))\b")
OUTSIDE = ("http://", "https://", "mailto:")


@cache
def anchors(document: Path) -> set[str]:
    """The headings' anchors as hosting platforms make them: lower case, spaces as hyphens, no punctuation."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> list[str]:
    return [link for link in LINK.findall(document.read_text(encoding="utf-8")) if not link.startswith(OUTSIDE)]


def is_broken(document: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    if not target.is_relative_to(ROOT) or not target.exists():
        return True
    return bool(anchor) and anchor not in anchors(target)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert [link for link in links(document) if is_broken(document, link)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_are_there(document: Path) -> None:
    """Paths below the checkout that a text or a command names."""
    text = document.read_text(encoding="utf-8")
    assert [path for path in PATH.findall(text) if not (ROOT / path).is_file()] == []


def test_every_document_is_listed() -> None:
    """docs/README.md is the table of contents, so it names all the others."""
    listed = {link for link in links(ROOT / "docs" / "README.md") if "/" not in link}
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= listed
