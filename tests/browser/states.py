"""Leads one page through what it can show, step by step; each test looks at it in its own way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.uploading import task, upload

SOUND = b"fLaC" + bytes([0x80, 0, 0, 34]) + bytes(34) + b"sound"


def queue_states(page: Page) -> Iterator[str]:
    """From an empty queue on: what files become in it, and what is done with them there."""
    expect(page.get_by_test_id("empty")).to_be_visible()
    yield "empty"
    upload(page, *((f"{name}.flac", SOUND) for name in ("interview", "fails", "runs", "waits")))
    expect(task(page, "interview.flac")).to_have_attribute("data-status", "completed")
    expect(task(page, "runs.flac")).to_have_attribute("data-status", "processing")
    yield "rows"
    upload(page, ("bad.txt", b"not a recording"))
    expect(page.get_by_test_id("refusal")).to_be_visible()
    with held(page, re.compile("/api/uploads")):
        upload(page, ("slow.flac", SOUND), ("slow too.flac", SOUND))
        cancel_all = page.get_by_test_id("uploads").get_by_test_id("batch-cancel")  # the four from before are one, too
        expect(cancel_all).to_be_visible()
        yield "uploading and refused"
        cancel_all.click()
        yield from _dialog(page, "cancelling a batch", "confirm")
        cancel_all.click()
        page.get_by_test_id("confirm-yes").click()
    page.get_by_test_id("upload-remove").first.click()
    yield from _searching(page)
    yield from _selecting(page)


def _searching(page: Page) -> Iterator[str]:
    page.get_by_test_id("search").fill("old cat")
    expect(page.get_by_test_id("hit-sentence").first).to_be_visible()
    expect(page.get_by_test_id("found-count")).not_to_be_empty()
    yield "searching"
    page.get_by_test_id("search").fill("nowhere")
    expect(page.get_by_test_id("no-match")).to_be_visible()
    yield "nothing found"
    page.get_by_test_id("show-all").click()
    page.get_by_test_id("filter").click()
    yield "filtering"


def _selecting(page: Page) -> Iterator[str]:
    row = task(page, "interview.flac")
    row.get_by_test_id("select").check()
    expect(page.get_by_test_id("selection-bar")).to_be_visible()
    yield "selecting"
    for name, button, dialog in (
        ("deleting", row.get_by_test_id("delete"), "confirm"),
        ("describing", row.get_by_test_id("describe-task"), "describe"),
        ("replacing in several", page.get_by_test_id("replace-selected"), "replace"),
    ):
        yield from _dialog_of(page, name, button, dialog)
    page.get_by_test_id("select-none").click()
    page.get_by_test_id("options-summary").or_(page.get_by_test_id("option-more")).first.click()
    if page.get_by_test_id("option-more").get_attribute("aria-expanded") == "false":
        page.get_by_test_id("option-more").click()
    page.get_by_test_id("option-advanced").click()
    yield "all options"
    page.get_by_test_id("option-more").click()
    page.keyboard.press("?")
    yield from _dialog(page, "keyboard shortcuts", "shortcuts")


def text_states(page: Page) -> Iterator[str]:
    """An open task in each state, and a text as it is read and edited. After `queue_states`, whose tasks it opens."""
    for name, part in (("runs.flac", "segments"), ("fails.flac", "no-text"), ("waits.flac", "no-text")):
        _open(page, name, part)
        yield f"open: {name}"
        page.get_by_test_id("close-transcript").click()
    _open(page, "interview.flac", "segments")
    page.get_by_test_id("transcript").locator("summary").first.click()
    yield "reading"
    page.get_by_test_id("transcript-search").fill("the")
    expect(page.get_by_test_id("matches")).to_be_visible()
    yield "searching the text"
    page.get_by_test_id("transcript-search").fill("")
    panel = page.get_by_test_id("transcript")
    panel.get_by_test_id("download").click()
    yield "a menu"
    page.keyboard.press("Escape")
    for name, button, dialog in (
        ("sharing", panel.get_by_test_id("share"), "share-dialog"),
        ("again", panel.get_by_test_id("again-open"), "again"),
    ):
        yield from _dialog_of(page, name, button, dialog)
    yield from _editing(page)


def _editing(page: Page) -> Iterator[str]:
    page.get_by_test_id("edit").click()
    field = page.get_by_test_id("segment-field")
    field.press("End")
    page.keyboard.type(" indeed")
    expect(page.get_by_test_id("save-state")).to_have_attribute("data-state", "saved")
    yield "editing"
    for name, dialog in (
        ("open-replace", "replace"),
        ("open-shift", "shift"),
        ("find-speakers", "find-speakers-dialog"),
        ("open-history", "history"),
    ):
        page.get_by_test_id("edit-menu").click()
        yield from _dialog_of(page, name, page.get_by_test_id(name), dialog)
    page.get_by_test_id("segment-speaker").click()
    yield from _dialog(page, "choosing a speaker", "speakers")
    yield from _conflict(page)
    page.get_by_test_id("close-transcript").click()
    expect(page.get_by_test_id("transcript")).to_have_count(0)


def _conflict(page: Page) -> Iterator[str]:
    """Somebody else changed the segment while this page could not reach the server."""
    edits = re.compile(r"/edits$")
    page.route(edits, lambda route: route.abort())
    page.get_by_test_id("segment-field").press("Home")
    page.keyboard.type("Once ")
    expect(page.get_by_test_id("save-state")).to_have_attribute("data-state", "offline")
    yield "not saved"
    page.unroute(edits)
    page.evaluate(CHANGE_ELSEWHERE)
    expect(page.get_by_test_id("conflict").first).to_be_visible()
    yield "conflict"
    page.get_by_test_id("keep-mine").click()
    expect(page.get_by_test_id("save-state")).to_have_attribute("data-state", "saved")


# Of the segment that is being edited, by a request that the page's own state knows nothing of.
CHANGE_ELSEWHERE = """async () => {
    const id = document.querySelector('[data-testid=transcript]').dataset.taskId
    const segment = Number(document.querySelector('.segment.is-edited').dataset.segment)
    const edits = [{kind: 'set_text', segment, text: 'Somebody else was here.'}]
    await fetch(`/api/tasks/${id}/edits`, {
        method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({base: 1, edits})})
    window.dispatchEvent(new Event('online'))
}"""


def _open(page: Page, name: str, part: str) -> None:
    task(page, name).get_by_test_id("open").click()
    expect(page.get_by_test_id("transcript").get_by_test_id(part)).to_be_visible()


def _dialog_of(page: Page, name: str, button: Locator, testid: str) -> Iterator[str]:
    button.click()
    yield from _dialog(page, name, testid)


def _dialog(page: Page, name: str, testid: str) -> Iterator[str]:
    """Escape closes it, and the focus is back where it was."""
    dialog = page.get_by_test_id(testid)
    expect(dialog).to_be_visible()
    yield name
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator("body:not(:focus) :focus")).to_have_count(1)


@contextmanager
def held(page: Page, address: re.Pattern[str]) -> Iterator[None]:
    """What is sent there never arrives."""

    def hold(route: Route, request: Request) -> None:
        if request.method in ("GET", "HEAD"):
            route.continue_()

    page.route(address, hold)
    yield
    page.unroute(address, hold)


def system_states(page: Page) -> Iterator[str]:
    page.get_by_test_id("view-system").click()
    expect(page.get_by_test_id("event-log")).to_be_visible()
    expect(page.get_by_test_id("model-row").first).to_be_visible()
    yield "system"
    page.get_by_test_id("view-queue").click()


def states(page: Page) -> Iterator[str]:
    """All of them, from an empty queue on."""
    yield from queue_states(page)
    yield from text_states(page)
    yield from system_states(page)
