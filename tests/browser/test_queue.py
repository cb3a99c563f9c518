"""A queue of two thousand tasks in a real Chromium, around a server where nothing happens by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.conftest import watch_for_faults
from tests.browser.fake_queue import FakeQueue, fake_batch
from tests.browser.uploading import upload

pytestmark = pytest.mark.browser

MOST_NODES = 2000
MOST_CHANGES = 150  # of the document, for one click
# Elements and texts, of which a person sees what a browser draws; comments are none.
COUNT_NODES = """() => {
    const walker = document.createTreeWalker(document, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT)
    let count = 0
    while (walker.nextNode()) count += 1
    return count
}"""
# Notes every node that comes or goes and every text and attribute that changes from now on.
WATCH_CHANGES = """() => {
    window.changes = 0
    new MutationObserver((records) => records.forEach(({type, addedNodes, removedNodes}) =>
        window.changes += type === 'childList' ? addedNodes.length + removedNodes.length : 1)
    ).observe(document.querySelector('.groups'),
        {childList: true, subtree: true, attributes: true, characterData: true})
}"""
OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def long_queue() -> FakeQueue:
    return FakeQueue.of(running=4, waiting=450, finished=1546)


@pytest.fixture(scope="module")
def shared(browser: Browser, quiet_server: str, long_queue: FakeQueue) -> Iterator[Page]:
    """One page for all tests of the module: `page` loads it anew."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults = watch_for_faults(page)
    long_queue.attach(page)
    yield page
    page.unroute_all(behavior="wait")  # an answer that is being made up would find its page gone
    context.close()
    assert faults == []


@pytest.fixture
def page(shared: Page, quiet_server: str) -> Page:
    shared.set_viewport_size({"width": 1280, "height": 900})
    shared.goto(quiet_server)
    expect(shared.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    expect(rows(shared).first).to_be_visible()
    return shared


def rows(page: Page) -> Locator:
    return page.get_by_test_id("task")


def hold_uploads(page: Page) -> None:
    """What is sent never arrives."""
    page.route("**/api/uploads*", lambda route: None)


def test_two_thousand_rows_are_at_most_two_thousand_nodes_and_a_click_changes_few(page: Page) -> None:
    assert page.evaluate(COUNT_NODES) <= MOST_NODES
    rows(page).first.get_by_test_id("open").focus()
    page.keyboard.press("End")
    last = page.locator('[data-testid="group-finished"] [aria-posinset="1546"]')
    expect(last.get_by_test_id("open")).to_be_focused()
    expect(last).to_have_attribute("aria-setsize", "1546")
    assert page.evaluate(COUNT_NODES) <= MOST_NODES

    page.evaluate(WATCH_CHANGES)
    last.get_by_test_id("select").check()
    expect(page.get_by_test_id("selection-count")).to_have_text("1 selected")
    assert 0 < page.evaluate("window.changes") <= MOST_CHANGES


def test_arrow_keys_move_from_row_to_row_and_the_focus_outlives_scrolling(page: Page) -> None:
    rows(page).nth(0).get_by_test_id("select").focus()
    page.keyboard.press("ArrowDown")
    expect(rows(page).nth(1).get_by_test_id("select")).to_be_focused()
    page.keyboard.press("Home")
    first = rows(page).nth(0)
    expect(first.get_by_test_id("select")).to_be_focused()

    page.mouse.move(600, 600)
    page.mouse.wheel(0, 6000)
    expect(first).not_to_be_in_viewport()
    page.keyboard.press("ArrowDown")
    expect(rows(page).nth(1).get_by_test_id("select")).to_be_focused()
    expect(rows(page).nth(1)).to_be_in_viewport()


def test_rows_in_view_stay_where_they_are_when_others_arrive_above(page: Page, quiet_server: str) -> None:
    rows(page).first.get_by_test_id("open").focus()
    page.keyboard.press("End")
    in_view = page.locator('[data-testid="group-finished"] [aria-posinset="1540"]')
    expect(in_view).to_be_in_viewport()
    waiting = page.locator('[data-testid="group-waiting"] ul')
    expect(waiting).to_have_attribute("data-rows", "450")
    before = in_view.bounding_box()
    files = {"file": ("arrives-above.flac", b"fLaC and then sound")}
    answer = requests.post(f"{quiet_server}/api/tasks", files=files, timeout=30)
    expect(waiting).to_have_attribute("data-rows", "451")
    after = in_view.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(after["y"] - before["y"]) <= 1
    requests.delete(f"{quiet_server}/api/tasks/{answer.json()['task']['id']}", timeout=30)


def test_thirty_files_are_one_row_with_one_progress_and_one_way_to_cancel_them(page: Page) -> None:
    hold_uploads(page)
    running = page.get_by_test_id("group-running")
    before = running.bounding_box()
    upload(page, *((f"batch-{number:02d}.flac", b"fLaC" + bytes(40)) for number in range(30)))
    batch = page.get_by_test_id("batch")
    expect(batch).to_have_count(1)
    expect(batch.get_by_test_id("batch-facts")).to_contain_text("0 of 30 files uploaded")
    expect(batch.get_by_test_id("batch-progress")).to_be_visible()
    expect(page.get_by_test_id("upload")).to_have_count(0)
    after = running.bounding_box()
    assert before is not None
    assert after is not None
    assert after["y"] - before["y"] < 200
    assert page.evaluate("scrollY") == 0

    batch.get_by_test_id("batch-files").click()
    expect(page.get_by_test_id("upload").first).to_be_visible()
    batch.get_by_test_id("batch-cancel").click()
    expect(page.get_by_test_id("confirm")).to_contain_text("Cancel 30 files?")
    page.get_by_test_id("confirm-yes").click()
    expect(page.get_by_test_id("uploads")).to_have_count(0)
    page.unroute("**/api/uploads*")


def test_what_was_sent_together_is_one_row_until_it_is_done(page: Page, long_queue: FakeQueue) -> None:
    long_queue.batches = [
        fake_batch("interviews", completed=11, failed=1, pending=28),
        fake_batch("old ones", completed=5, failed=0, pending=0),
    ]
    page.reload()
    batch = page.get_by_test_id("batch")
    expect(batch).to_have_count(1)
    expect(batch.get_by_test_id("batch-facts")).to_have_text("11 of 40 done1 failedabout 10 min left")
    expect(batch.get_by_test_id("batch-progress")).to_have_attribute("value", "0.3")
    batch.get_by_test_id("batch-tasks").click()
    expect(page.get_by_test_id("unfilter-batch")).to_have_text("Sent together · interviews")
    page.get_by_test_id("unfilter-batch").click()
    batch.get_by_test_id("batch-cancel").click()
    expect(page.get_by_test_id("confirm")).to_contain_text("Cancel 28 files?")
    page.get_by_test_id("confirm-yes").click()
    expect(batch).to_have_count(0)
    long_queue.batches = []


def test_refused_files_are_counted_and_outlive_a_reload(page: Page) -> None:
    upload(page, ("empty-one.mp3", b""), ("empty-two.mp3", b""))
    tab = page.get_by_test_id("filter-refused")
    expect(tab).to_have_text("Rejected 2")
    expect(page.get_by_test_id("filter-all")).to_have_text("All 2,002")
    page.reload()
    tab.click()
    expect(page.get_by_test_id("upload")).to_have_count(2)
    expect(page.locator('[data-filename="empty-one.mp3"]').get_by_test_id("refusal")).to_have_text("The file is empty.")
    expect(page.locator('[data-filename="empty-one.mp3"]').get_by_test_id("upload-again")).to_have_count(0)
    page.get_by_test_id("dismiss-refused").click()
    page.get_by_test_id("filter-all").click()
    expect(tab).to_have_count(0)


def test_what_arrives_under_a_filter_is_told_and_shown_on_demand(page: Page, quiet_server: str) -> None:
    page.get_by_test_id("filter-failed").click()
    expect(page.get_by_test_id("no-match")).to_be_visible()
    upload(page, ("under-a-filter.flac", b"fLaC and more sound"))
    expect(page.get_by_test_id("hidden-arrivals")).to_contain_text("1 uploaded recording is hidden")
    page.get_by_test_id("show-arrivals").click()
    expect(page.get_by_test_id("hidden-arrivals")).to_have_count(0)
    expect(page.get_by_test_id("filter-all")).to_have_attribute("aria-pressed", "true")


def test_the_title_of_the_tab_counts_what_is_left(page: Page) -> None:
    expect(page).to_have_title(re.compile(r"^\(454\) "))


def test_what_is_set_for_the_next_files_is_seen_and_reset(page: Page) -> None:
    page.get_by_test_id("option-more").click()
    page.get_by_test_id("option-prompt").fill("Ångström, Zürich")
    page.get_by_test_id("option-words").check()
    expect(page.get_by_test_id("set-options")).to_have_count(0)
    page.reload()
    expect(page.get_by_test_id("set-options")).to_contain_text("Prompt: Ångström, Zürich")
    page.get_by_test_id("unset-words").click()
    expect(page.get_by_test_id("unset-words")).to_have_count(0)
    page.get_by_test_id("unset-prompt").click()
    expect(page.get_by_test_id("set-options")).to_have_count(0)


def test_the_question_before_deleting_names_the_files(page: Page) -> None:
    for number in range(8):
        rows(page).nth(number).get_by_test_id("select").check()
    page.get_by_test_id("delete-selected").click()
    names = page.get_by_test_id("confirm-names").locator("li")
    expect(names).to_have_count(6)
    name = rows(page).nth(0).get_attribute("data-filename")
    assert name is not None
    expect(names.first).to_have_text(name)
    expect(names.last).to_have_text("… and 3 more")
    page.get_by_test_id("confirm-no").click()


def test_what_is_used_of_the_disk_and_how_long_things_are_kept_is_told_below_the_list(page: Page) -> None:
    owners = [{"owner": name, "tasks": 3, "media_bytes": 2e9, "texts_bytes": 5e5, "samples_bytes": 0} for name in "ab"]
    used = {"media_bytes": 4e9, "texts_bytes": 1e6, "samples_bytes": 0, "free_bytes": 8e11, "owners": owners}
    kept = {"media_days": 30, "media_from": None, "text_days": None, "text_from": None}
    page.route("**/api/system/storage", lambda route: route.fulfill(json=used))
    page.route("**/api/system", lambda route: route.fulfill(json={**route.fetch().json(), "retention": kept}))
    page.reload()
    expect(page.get_by_test_id("storage")).to_have_text("Recordings take 4 GB and texts 1 MB; 800 GB are free.")
    expect(page.get_by_test_id("retention")).to_contain_text("removed 30 days after")
    page.get_by_test_id("storage-owners").locator("summary").click()
    expect(page.get_by_test_id("storage-owners").locator("li").first).to_have_text("a 2 GB, 3 tasks")
    page.unroute("**/api/system/storage")
    page.unroute("**/api/system")


def test_a_menu_opens_and_moves_by_keys(page: Page) -> None:
    button = page.get_by_test_id("download-all")
    button.press("ArrowUp")
    entries = page.get_by_role("menuitem")
    expect(entries.last).to_be_focused()
    page.keyboard.press("Home")
    expect(entries.first).to_be_focused()
    page.keyboard.press("v")
    expect(page.get_by_test_id("zip-vtt")).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    button.press("ArrowDown")
    expect(entries.first).to_be_focused()
    page.keyboard.press("Escape")


def test_a_phone_shows_every_tab_a_whole_heading_and_the_end_of_a_name(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 700})
    title = page.get_by_test_id("drop-zone").locator(".drop-title")
    assert title.evaluate("title => title.clientHeight < 3.5 * parseFloat(getComputedStyle(title).fontSize)")
    heading = page.get_by_role("heading", name="Queue")
    assert heading.evaluate("heading => heading.getClientRects().length") == 1
    assert heading.evaluate("heading => heading.scrollHeight < 2 * parseFloat(getComputedStyle(heading).fontSize)")
    for tab in page.locator(".tab").all():
        box = tab.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 320
    tail = page.locator(".task .file-name span:nth-child(2)").first
    expect(tail).to_be_visible()
    box = tail.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 320
    assert page.evaluate(OVERHANG) <= 0


def test_what_is_chosen_can_be_told_in_forced_colours(page: Page) -> None:
    page.emulate_media(forced_colors="active")
    background = "element => getComputedStyle(element).backgroundColor"
    assert page.get_by_test_id("filter-all").evaluate(background) != page.get_by_test_id("filter-failed").evaluate(
        background
    )
    outline = "element => getComputedStyle(element).outlineStyle"
    rows(page).nth(0).get_by_test_id("select").check()
    assert rows(page).nth(0).evaluate(outline) == "solid"
    assert rows(page).nth(1).evaluate(outline) == "none"
    page.emulate_media(forced_colors="none")


def test_advice_for_whoever_runs_the_server_is_shown_to_no_one_else(page: Page, quiet_server: str) -> None:
    words = "Set ENABLE_OPTIMIZATION_SYSTEM=True."
    advice = {"code": "plain_path", "text": words, "data": {"waiting": 450}}

    def with_advice(route: Route) -> None:
        route.fulfill(json={**route.fetch().json(), "advice_items": [advice]})

    def as_somebody(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("data-host=", 'data-account="ann" data-host='))

    page.route("**/api/system", with_advice)
    page.reload()
    expect(page.locator(".advice")).to_have_text(words)
    page.route(f"{quiet_server}/", as_somebody)
    page.reload()
    expect(rows(page).first).to_be_visible()
    expect(page.get_by_test_id("devices")).to_be_visible()
    expect(page.locator(".advice")).to_have_count(0)
    page.get_by_test_id("view-system").click()
    expect(page.get_by_test_id("figures")).to_be_visible()
    expect(page.get_by_test_id("advice")).to_have_count(0)
    page.unroute(f"{quiet_server}/")
    page.unroute("**/api/system", with_advice)


def test_the_line_is_shown_from_its_front_and_a_group_can_be_folded_away(page: Page, long_queue: FakeQueue) -> None:
    first = page.get_by_test_id("group-waiting").get_by_test_id("task").first
    expect(first.get_by_test_id("position")).to_have_text("Next in line")
    expect(page.get_by_test_id("fold-waiting")).to_have_text("Waiting 450")
    page.get_by_test_id("fold-waiting").click()
    expect(first).to_have_count(0)
    newest = long_queue.tasks[1545]["filename"]
    expect(page.get_by_test_id("group-finished").get_by_test_id("task").first).to_have_attribute(
        "data-filename", newest
    )
    page.get_by_test_id("fold-waiting").click()
    expect(first).to_be_visible()


def test_the_list_is_put_in_order_and_narrowed(page: Page, long_queue: FakeQueue) -> None:
    page.get_by_test_id("filter").click()
    page.get_by_test_id("filter-order").select_option("name-asc")
    found = page.get_by_test_id("group-found").get_by_test_id("task")
    expect(found.first).to_have_attribute("data-filename", long_queue.tasks[0]["filename"])
    page.get_by_test_id("filter-tag").fill("nobody has this")
    expect(page.get_by_test_id("no-match")).to_be_visible()
    asked = long_queue.asked[-1]
    assert {name: asked[name] for name in ("sort", "order", "tag")} == {
        "sort": "name", "order": "asc", "tag": "nobody has this",
    }  # fmt: skip
    page.get_by_test_id("filter-reset").click()
    expect(page.get_by_test_id("group-running")).to_be_visible()


def test_a_task_is_named_tagged_and_described(page: Page, long_queue: FakeQueue) -> None:
    row = rows(page).nth(0)
    row.get_by_test_id("describe-task").click()
    page.get_by_test_id("describe-name").fill("Talk with Ann")
    page.get_by_test_id("describe-tags").press_sequentially("interview,Zürich")
    page.get_by_test_id("describe-note").fill("Ask about 1998.")
    page.get_by_test_id("describe-save").click()
    expect(page.get_by_test_id("describe")).to_have_count(0)
    assert long_queue.changes[-1] == {
        "title": "Talk with Ann", "tags": ["interview", "Zürich"], "note": "Ask about 1998.",
    }  # fmt: skip
    expect(row.get_by_test_id("open")).to_have_text("Talk with Ann")
    expect(row.get_by_test_id("tag")).to_have_text(["interview", "Zürich"])
    expect(row.get_by_test_id("note")).to_have_text("Ask about 1998.")
    row.get_by_test_id("tag").first.click()
    expect(rows(page)).to_have_count(1)
    row.get_by_test_id("open").click()
    expect(page.get_by_test_id("transcript").get_by_role("heading").first).to_have_text("Talk with Ann")
    page.get_by_test_id("close-transcript").click()


def test_a_waiting_task_is_moved_by_keys_and_by_dragging(page: Page, long_queue: FakeQueue) -> None:
    line = page.get_by_test_id("group-waiting").get_by_test_id("task")
    first, second, third = (line.nth(place).get_attribute("data-task-id") for place in range(3))
    handle = page.locator(f'[data-task-id="{first}"]').get_by_test_id("move")
    handle.focus()
    page.keyboard.press("ArrowDown")
    expect(line.nth(1)).to_have_attribute("data-task-id", first or "")
    expect(handle).to_be_focused()
    expect(page.get_by_test_id("announcement")).to_contain_text("is now number 2 in line")
    assert long_queue.changes[-1] == {"after": second}

    grip, target = handle.bounding_box(), page.locator(f'[data-task-id="{third}"]').bounding_box()
    assert grip is not None
    assert target is not None
    page.mouse.move(grip["x"] + 10, grip["y"] + 10)
    page.mouse.down()
    page.mouse.move(target["x"] + 300, target["y"] + target["height"] - 5)
    expect(page.locator(".is-drop-after")).to_have_count(1)
    page.mouse.up()
    expect(line.nth(2)).to_have_attribute("data-task-id", first or "")
    assert long_queue.changes[-1] == {"after": third}
