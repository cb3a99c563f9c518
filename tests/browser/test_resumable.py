"""Uploads through the page over a bad network: they go on where they stopped, and nobody is asked to begin again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.browser.conftest import watch_for_faults
from tests.browser.uploading import expect_status, recording, task
from tests.server.conftest import server_in
from tests.server.cutting_proxy import CuttingProxy
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.browser

CUT_AT = 6_000_000
UPLOADING_MS = 60_000
SHARE = re.compile(r"\d\d?% of it is here")
UNFINISHED = """async () => {
  const { unfinishedUploads } = await import('./static/state/unfinished.js')
  const endpoint = new URL('api/uploads', document.baseURI).href
  return (await unfinishedUploads(endpoint)).length
}"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with server_in(tmp_path) as server:
        yield server


@pytest.fixture
def proxy(server: RunningServer) -> Iterator[CuttingProxy]:
    with CuttingProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def page(browser: Browser, proxy: CuttingProxy) -> Iterator[Page]:
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults = watch_for_faults(page)
    page.on("dialog", lambda dialog: dialog.accept())  # whether to leave the page during an upload
    page.goto(proxy.address)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def sent(page: Page) -> list[Request]:
    """The requests of uploads, as the page sends them."""
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if "/api/uploads" in request.url else None)
    return sent


def went_on(sent: list[Request]) -> bool:
    """One upload was begun, and its last bytes are those behind what had arrived."""
    created = [request for request in sent if request.method == "POST"]
    pieces = [int(request.headers["upload-offset"]) for request in sent if request.method == "PATCH"]
    return len(created) == 1 and pieces[0] == 0 and CUT_AT / 2 < pieces[-1] <= CUT_AT


def choose(page: Page, path: Path) -> None:
    """With all options known."""
    expect(page.get_by_test_id("option-model")).not_to_have_value("")
    page.get_by_test_id("file-input").set_input_files(path)


def test_a_cut_connection_goes_on_by_itself(
    page: Page, sent: list[Request], proxy: CuttingProxy, server: RunningServer, five_minutes: Path
) -> None:
    proxy.cut_after(CUT_AT)
    choose(page, five_minutes)
    expect_status(page, five_minutes.name, "completed", timeout=UPLOADING_MS)
    assert proxy.has_struck.is_set()
    assert went_on(sent)
    (media,) = (server.data_dir / "media").iterdir()
    assert media.read_bytes() == five_minutes.read_bytes()
    expect(page.get_by_test_id("upload")).to_have_count(0)


def test_after_a_reload_the_same_file_goes_on(
    page: Page, sent: list[Request], proxy: CuttingProxy, server: RunningServer, five_minutes: Path, tmp_path: Path
) -> None:
    """The page says what is there already, and takes no other file for it."""
    proxy.hang_after(CUT_AT)
    choose(page, five_minutes)
    expect(page.locator('[data-testid="upload"][data-phase="uploading"]')).to_be_visible()
    assert proxy.has_struck.wait(UPLOADING_MS / 1000)

    page.reload()
    row = page.get_by_test_id("upload").filter(has_text=five_minutes.name)
    expect(row).to_have_attribute("data-phase", "unfinished")
    expect(row).to_contain_text(SHARE)
    other = tmp_path / five_minutes.name
    other.write_bytes(bytes(1000))
    row.get_by_test_id("go-on-input").set_input_files(other)
    expect(page.get_by_test_id("toast")).to_contain_text("not the file")
    page.get_by_test_id("option-priority").select_option("high")  # it goes on as it was begun
    choose(page, five_minutes)

    expect_status(page, five_minutes.name, "completed", timeout=UPLOADING_MS)
    assert went_on(sent)
    (media,) = (server.data_dir / "media").iterdir()
    assert media.read_bytes() == five_minutes.read_bytes()
    assert (
        page.evaluate("fetch('api/tasks').then((r) => r.json()).then((a) => a.tasks[0].options.task)") == "transcribe"
    )
    expect(page.get_by_test_id("upload")).to_have_count(0)


def test_what_an_earlier_visit_left_can_be_given_up(
    page: Page, proxy: CuttingProxy, server: RunningServer, five_minutes: Path
) -> None:
    """Another tab does not show what is under way in this one."""
    proxy.hang_after(CUT_AT)
    choose(page, five_minutes)
    assert proxy.has_struck.wait(UPLOADING_MS / 1000)
    other = page.context.new_page()
    other.goto(proxy.address)
    expect(other.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    assert other.evaluate(UNFINISHED) == 0
    other.close()
    page.reload()
    row = page.get_by_test_id("upload").filter(has_text=five_minutes.name)
    expect(row).to_have_attribute("data-phase", "unfinished")
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        row.get_by_test_id("upload-remove").click()
    assert list((server.data_dir / "incoming").iterdir()) == []
    assert page.evaluate(UNFINISHED) == 0


def test_a_cancelled_upload_leaves_nothing_on_the_server(
    page: Page, proxy: CuttingProxy, server: RunningServer, five_minutes: Path
) -> None:
    proxy.hang_after(CUT_AT)
    choose(page, five_minutes)
    assert proxy.has_struck.wait(UPLOADING_MS / 1000)
    with page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        page.get_by_test_id("upload-remove").click()
    assert deleted.value.status == 204
    assert list((server.data_dir / "incoming").iterdir()) == []
    expect(page.get_by_test_id("upload")).to_have_count(0)


def test_of_a_file_that_was_sent_before_the_person_is_asked(page: Page, tmp_path: Path) -> None:
    first, again = tmp_path / "first.flac", tmp_path / "again.flac"
    for path in (first, again):
        path.write_bytes(recording("librivox-0880.flac"))
    choose(page, first)
    expect_status(page, "first.flac", "completed", timeout=UPLOADING_MS)

    choose(page, again)
    expect(page.get_by_test_id("known-file")).to_contain_text("You have sent this recording before.")
    page.get_by_test_id("open-earlier").click()
    expect(page.get_by_test_id("transcript")).to_be_visible()
    expect(page.get_by_test_id("upload")).to_have_count(0)
    expect(task(page, "again.flac")).to_have_count(0)

    page.keyboard.press("Escape")  # beside an open transcript the options are folded
    expect(page.get_by_test_id("transcript")).to_have_count(0)
    choose(page, again)
    page.get_by_test_id("transcribe-again").click()
    expect_status(page, "again.flac", "completed", timeout=UPLOADING_MS)
    expect(page.get_by_test_id("known-file")).to_have_count(0)


def test_a_long_prompt_is_sent_all_the_same(page: Page, tmp_path: Path) -> None:
    """It does not fit in the header that a resumable upload's options have to be sent in."""
    path = tmp_path / "prompted.flac"
    path.write_bytes(recording("librivox-0880.flac"))
    page.evaluate("localStorage.setItem('whisper.prompt', JSON.stringify('名'.repeat(1990)))")
    page.reload()
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    choose(page, path)
    expect_status(page, "prompted.flac", "completed", timeout=UPLOADING_MS)
