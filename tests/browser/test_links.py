"""A link to a file in place of a file, where the administrator allows that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import watch_for_faults
from tests.optimizer.intake.file_server import FileServer, serving
from tests.web.requests import RECORDING
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.browser

ALLOWED = {"ENABLE_LINKS": "True", "LINK_ALLOW_PRIVATE": "True"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RunningServer(tmp_path_factory.mktemp("links"), env=ALLOWED) as server, server.outliving_tests():
        yield server.address


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    faults = watch_for_faults(page)
    page.goto(server)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving() as files:
        yield files


def add(page: Page, url: str) -> None:
    page.get_by_test_id("add-link").click()
    page.get_by_test_id("link-address").fill(url)
    page.keyboard.press("Enter")


def test_a_link_is_shown_while_the_server_fetches_it_and_becomes_a_task(page: Page, files: FileServer) -> None:
    may_end = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        may_end.wait(30)
        handler.wfile.write(RECORDING)

    files.answers["/talk%20one.flac?token=s3cret"] = answer
    page.get_by_test_id("add-link").click()
    page.get_by_test_id("link-address").fill("talk.flac")
    expect(page.get_by_test_id("link-go")).to_be_disabled()
    expect(page.get_by_test_id("link-form")).to_contain_text("no complete address")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("add-link")).to_be_focused()
    add(page, f"{files.url}/talk%20one.flac?token=s3cret")
    row = page.get_by_test_id("upload").filter(has_text="talk one.flac")
    expect(row).to_have_attribute("data-phase", "fetching")
    expect(row).to_contain_text("127.0.0.1")
    expect(row).not_to_contain_text("s3cret")
    may_end.set()
    expect(page.get_by_test_id("task").filter(has_text="talk one.flac")).to_be_visible()
    expect(row).to_have_count(0)


def test_a_link_that_is_taken_back_is_no_longer_fetched(page: Page, files: FileServer) -> None:
    is_left = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not files.is_over.wait(0.05):
                handler.wfile.write(bytes(1000))
        finally:
            is_left.set()

    files.answers["/long.mp3"] = answer
    add(page, f"{files.url}/long.mp3")
    row = page.get_by_test_id("upload").filter(has_text="long.mp3")
    expect(row).to_have_attribute("data-phase", "fetching")
    row.get_by_test_id("upload-remove").click()
    expect(row).to_have_count(0)
    assert is_left.wait(30)
    assert not files.is_over.is_set()


def test_a_link_that_gives_no_file_says_why_and_can_be_tried_again(page: Page, files: FileServer) -> None:
    add(page, files.gives("/gone.mp3", status=404))
    row = page.get_by_test_id("upload").filter(has_text="gone.mp3")
    expect(row.get_by_test_id("refusal")).to_contain_text("answers with 404")
    files.gives("/gone.mp3", RECORDING + b"found")
    row.get_by_test_id("upload-again").click()
    expect(page.get_by_test_id("task").filter(has_text="gone.mp3")).to_be_visible()
