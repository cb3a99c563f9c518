"""Editing a transcript in a real Chromium: one server and one text for all, each test at segments of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import watch_for_faults
from tests.server.conftest import server_in

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """With the fake engine, whose text is eight letters a window."""
    with server_in(tmp_path_factory.mktemp("editing")) as running, running.outliving_tests():
        yield running.address


@pytest.fixture(scope="module")
def task_id(server: str, five_minutes: Path) -> str:
    with five_minutes.open("rb") as file:
        answer = requests.post(
            f"{server}/api/tasks",
            files={"file": ("interview.wav", file)},
            data={"initial_prompt": "window_s=0.001", "word_timestamps": "false"},
            timeout=60,
        )
    task = answer.json()["task"]["id"]
    requests.get(f"{server}/api/tasks/{task}", timeout=60).raise_for_status()
    return str(task)


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture(scope="module")
def shared_page(context: BrowserContext, server: str, task_id: str) -> Iterator[Page]:
    page = context.new_page()
    faults = watch_for_faults(page)
    page.goto(f"{server}/#task={task_id}")
    expect(page.get_by_test_id("segment")).to_have_count(10, timeout=60_000)
    yield page
    assert faults == []


@pytest.fixture
def page(shared_page: Page) -> Iterator[Page]:
    """Nothing is being edited, and everything is saved."""
    yield shared_page
    shared_page.context.set_offline(False)
    if shared_page.get_by_test_id("segment-field").count():
        shared_page.get_by_test_id("edit").click()
    expect(shared_page.get_by_test_id("save-state")).to_have_attribute("data-state", "saved")


def begin_at(page: Page, number: int) -> Locator:
    """Edits the segment at that place of the list, and gives its field."""
    row = page.get_by_test_id("segment").nth(number)
    row.get_by_test_id("segment-play").focus()
    page.keyboard.press("e")
    field = row.get_by_test_id("segment-field")
    expect(field).to_be_focused()
    return field


def saved(page: Page) -> None:
    expect(page.get_by_test_id("save-state")).to_have_attribute("data-state", "saved")


def texts_of(server: str, task_id: str, version: str = "edited") -> list[str]:
    answer = requests.get(f"{server}/api/tasks/{task_id}/transcript?version={version}", timeout=30)
    return [segment["text"].strip() for segment in answer.json()["segments"]]


def row_texts(page: Page) -> list[str]:
    """Those that are read and the one in the field."""
    text = "row.querySelector('textarea')?.value ?? row.querySelector('p.segment-text').textContent"
    return list(page.get_by_test_id("segment").evaluate_all(f"rows => rows.map((row) => ({text}).trim())"))


def test_typed_text_is_saved_split_and_joined_by_the_keyboard_and_undone(page: Page, server: str, task_id: str) -> None:
    original = row_texts(page)
    field = begin_at(page, 0)
    field.press("Home")
    page.keyboard.type("Hello my friends ")
    saved(page)
    assert texts_of(server, task_id)[0] == f"Hello my friends {original[0]}"

    page.keyboard.press("Home")
    for _ in "Hello":
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.type("dear ")  # while the server gives the new segment its id
    saved(page)
    expect(page.get_by_test_id("segment-field")).to_be_focused()
    assert row_texts(page)[:2] == ["Hello", f"dear my friends {original[0]}"]
    assert texts_of(server, task_id)[:2] == row_texts(page)[:2]

    page.keyboard.press("Home")
    page.keyboard.press("Backspace")
    page.keyboard.type("and ")
    saved(page)
    assert texts_of(server, task_id) == [f"Hello and dear my friends {original[0]}", *original[1:]]

    while row_texts(page) != original:  # as often as there were pauses in typing
        expect(page.get_by_test_id("undo")).to_be_enabled()
        page.keyboard.press("ControlOrMeta+z")
        saved(page)
    expect(page.get_by_test_id("undo")).to_be_disabled()
    page.keyboard.press("ControlOrMeta+Shift+z")
    saved(page)
    again = row_texts(page)[0]
    assert again != original[0]
    assert texts_of(server, task_id)[0] == again

    page.get_by_test_id("show-original").press("Space")
    expect(page.get_by_test_id("segment-text").first).to_have_text(original[0])
    page.get_by_test_id("transcript").get_by_test_id("download").click()
    assert "version=original" in (page.get_by_test_id("download-txt").get_attribute("href") or "")
    page.keyboard.press("Escape")
    page.get_by_test_id("show-edited").press("Space")
    expect(page.get_by_test_id("segment-text").first).to_have_text(again)


def test_what_is_typed_without_a_connection_is_kept_and_sent_by_the_next_page(
    page: Page, context: BrowserContext, server: str, task_id: str
) -> None:
    closed = context.new_page()
    closed.goto(f"{server}/#task={task_id}")
    expect(closed.get_by_test_id("segment")).to_have_count(10)
    context.set_offline(True)
    field = begin_at(closed, 1)
    field.fill("typed on a train")
    expect(closed.get_by_test_id("save-state")).to_have_attribute("data-state", "offline")
    closed.keyboard.type(" and a moment before the end")
    closed.close(run_before_unload=False)
    context.set_offline(False)

    page.reload()
    expect(page.get_by_test_id("segment-text").nth(1)).to_have_text("typed on a train and a moment before the end")
    saved(page)
    assert texts_of(server, task_id)[1] == "typed on a train and a moment before the end"


def test_two_pages_that_edit_the_same_segment_lose_neither_text(
    page: Page, context: BrowserContext, server: str, task_id: str
) -> None:
    other = context.new_page()
    other.goto(f"{server}/#task={task_id}")
    expect(other.get_by_test_id("segment")).to_have_count(10)
    begin_at(other, 2).fill("from there")
    # Before it is sent, so that the answer to this one comes first.
    other.route("**/edits", lambda route: route.abort())
    begin_at(page, 2).fill("from here")
    saved(page)
    other.unroute("**/edits")
    conflict = other.get_by_test_id("conflict")
    expect(conflict.get_by_test_id("conflict-mine")).to_contain_text("from there")
    expect(conflict.get_by_test_id("conflict-theirs")).to_contain_text("from here")
    assert texts_of(server, task_id)[2] == "from here"

    conflict.get_by_test_id("keep-both").click()
    expect(conflict).to_have_count(0)
    saved(other)
    expect(page.get_by_test_id("segment-field")).to_have_value("from here from there")  # by the live feed
    assert texts_of(server, task_id)[2] == "from here from there"
    other.close()


def test_speakers_are_chosen_named_and_merged_by_the_keyboard(page: Page, server: str, task_id: str) -> None:
    begin_at(page, 4)
    for number in (4, 5):
        page.keyboard.press("Alt+w")
        page.get_by_test_id("speaker-new").press("Enter")
        expect(page.get_by_test_id("segment-field")).to_be_focused()
        expect(page.get_by_test_id("segment").nth(number).get_by_test_id("speaker")).to_be_visible()
        page.keyboard.press("PageDown")
    page.keyboard.press("PageUp")
    page.keyboard.press("Alt+w")
    page.get_by_test_id("speaker-name").fill("Ann")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("segment-field")).to_be_focused()
    expect(page.get_by_test_id("segment").nth(5).get_by_test_id("speaker")).to_have_text("Ann")
    expect(page.get_by_test_id("segment").nth(4).get_by_test_id("speaker")).to_have_text("Speaker 1")

    page.keyboard.press("PageUp")
    page.keyboard.press("Alt+w")
    page.get_by_test_id("speaker-merge").select_option(label="Ann")
    expect(page.get_by_test_id("segment").nth(4).get_by_test_id("speaker")).to_have_text("Ann")
    expect(page.get_by_test_id("segment").nth(5).get_by_test_id("speaker")).to_have_count(0)
    saved(page)
    lines = requests.get(f"{server}/api/tasks/{task_id}/transcript?format=txt", timeout=30).text
    assert "Ann" in lines


@pytest.mark.slow
def test_words_are_replaced_in_one_transcript_and_in_all_that_are_chosen(page: Page, server: str, task_id: str) -> None:
    begin_at(page, 6).fill("Gray and gray and grayish")
    page.keyboard.press("Alt+r")
    page.get_by_test_id("replace-find").fill("gray")
    page.get_by_test_id("replace-replace").fill("grey")
    page.get_by_test_id("replace-whole_words").check()
    expect(page.get_by_test_id("replace-count")).to_have_text("Found 2 times.")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("segment-field")).to_have_value("grey and grey and grayish")
    saved(page)

    page.get_by_test_id("select").check()
    page.get_by_test_id("replace-selected").click()
    page.get_by_test_id("replace-find").fill("grayish")
    page.get_by_test_id("replace-replace").fill("greyish")
    page.get_by_test_id("replace-go").click()
    expect(page.get_by_test_id("segment-field")).to_have_value("grey and grey and greyish")
    page.get_by_test_id("select-none").click()
    saved(page)
    assert texts_of(server, task_id)[6] == "grey and grey and greyish"


@pytest.mark.slow
def test_chinese_is_composed_without_a_letter_lost_or_a_segment_split(page: Page, server: str, task_id: str) -> None:
    """As an input method does it: letters that become characters, with an Enter that only ends the composing."""
    begin_at(page, 7).fill("")
    devtools = page.context.new_cdp_session(page)
    for composed in ("n", "ni", "nih", "niha", "nihao"):
        devtools.send(
            "Input.imeSetComposition",
            {"text": composed, "selectionStart": len(composed), "selectionEnd": len(composed)},
        )
    assert texts_of(server, task_id)[7] != "nihao"
    devtools.send("Input.insertText", {"text": "你好"})
    page.keyboard.press("Alt+k")
    page.keyboard.press("Alt+k")
    saved(page)
    expect(page.get_by_test_id("segment")).to_have_count(10)
    assert texts_of(server, task_id)[7] == "你好"
    devtools.detach()


@pytest.mark.slow
def test_times_are_edited_and_all_are_shifted_and_the_history_tells_it(page: Page, server: str, task_id: str) -> None:
    begin_at(page, 8)
    start = page.get_by_test_id("segment-start")
    expect(start).to_have_value("4:00.00")
    start.fill("4:01.5")
    start.press("Enter")
    saved(page)
    page.get_by_test_id("edit-menu").click()
    page.get_by_test_id("open-shift").click()
    page.get_by_test_id("shift-seconds").fill("-1.5")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("segment-start")).to_have_value("4:00.00")
    saved(page)
    segments = requests.get(f"{server}/api/tasks/{task_id}/transcript", timeout=30).json()["segments"]
    assert segments[8]["start"] == 240
    assert segments[1]["start"] == 28.5

    page.get_by_test_id("edit-menu").click()
    page.get_by_test_id("open-history").click()
    expect(page.get_by_test_id("edit-step").first).to_contain_text("All times shifted by -1.5 s")
    expect(page.get_by_test_id("edit-step").nth(1)).to_contain_text("Times set: 4:01 to 4:30")
    page.get_by_test_id("history-close").click()
    page.get_by_test_id("undo").click()
    saved(page)


def test_the_sheet_lists_every_shortcut(page: Page) -> None:
    page.get_by_test_id("segment-play").first.focus()
    page.keyboard.press("?")
    sheet = page.get_by_test_id("shortcuts")
    expect(sheet).to_be_visible()
    expect(sheet).to_contain_text("Split at the cursor")
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    assert re.search("task=", page.url)


def test_the_server_is_asked_who_speaks_and_what_it_found_can_be_undone(page: Page) -> None:
    speakers = page.get_by_test_id("speaker")
    before = speakers.all_inner_texts()
    page.get_by_test_id("edit-menu").click()
    page.get_by_test_id("find-speakers").click()
    page.get_by_test_id("speaker-count").fill("2")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("toasts")).to_contain_text("looking for the speakers")
    expect(speakers).to_have_count(10)  # the fake engine hears another one in every segment
    page.get_by_test_id("undo").click()
    expect(speakers).to_have_text(before)
