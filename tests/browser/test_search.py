"""A search of the list on the page: sentences with marked words, counts that follow, and texts opened at the hit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import watch_for_faults
from tests.browser.uploading import expect_status, task
from tests.paths import DATA
from tests.server.client import Client
from tests.server.conftest import server_in
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.browser

TEXT = " The quick <b>brown</b> fox jumps over a dog."


@pytest.fixture(scope="module")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with server_in(tmp_path_factory.mktemp("fake")) as server, server.outliving_tests():
        client = Client(server)
        client.upload(DATA / "dev-minute-01.flac", initial_prompt=f"text={quote(TEXT)}")
        client.upload(DATA / "librivox-0880.flac", initial_prompt=f"text={quote('别的 words')}")
        yield server


@pytest.fixture
def page(browser: Browser, fake_server: RunningServer) -> Iterator[Page]:
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults = watch_for_faults(page)
    page.goto(fake_server.address)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    context.close()
    assert faults == []


def test_hits_are_shown_with_sentence_and_time_counted_and_opened_where_they_are(page: Page) -> None:
    for name in ("dev-minute-01.flac", "librivox-0880.flac"):
        expect_status(page, name, "completed")
    expect(page.get_by_test_id("hit-sentence")).to_have_count(0)

    page.get_by_test_id("search").fill("dog brown")
    hit = task(page, "dev-minute-01.flac").get_by_test_id("hit-sentence")
    expect(hit).to_contain_text(TEXT.strip())
    assert hit.locator("mark").all_inner_texts() == ["brown", "dog"]
    expect(task(page, "librivox-0880.flac")).to_have_count(0)
    expect(page.get_by_test_id("filter-completed")).to_contain_text("1")
    expect(page.get_by_test_id("filter-all")).to_contain_text("1")

    task(page, "dev-minute-01.flac").get_by_test_id("open").click()
    expect(page).to_have_url(re.compile(r"#task=\w+&q=dog%20brown&at=0$"))
    panel = page.get_by_test_id("transcript")
    expect(panel.get_by_test_id("transcript-search")).to_have_value("dog brown")
    expect(panel.get_by_test_id("hit").first).to_have_text("brown")

    page.keyboard.press("Escape")
    page.get_by_test_id("search").fill("别")
    expect(task(page, "librivox-0880.flac").get_by_test_id("hit-sentence").locator("mark").first).to_have_text("别")
    page.get_by_test_id("search").fill("")
    expect(page.get_by_test_id("hit-sentence")).to_have_count(0)
    expect(page.get_by_test_id("filter-completed")).to_contain_text("2")
