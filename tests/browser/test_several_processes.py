"""The page in front of two servers behind nginx, each of which is killed and started again: nobody notices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import watch_for_faults
from tests.browser.uploading import expect_status, task
from tests.deploy.proxies import nginx_before_several
from tests.postgresql_server import PostgresqlServer
from tests.server.client import Client
from tests.server.conftest import noise, server_in
from tests.server.test_kills import expected_text, kill_all
from tests.web.running_server import RunningServer

pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.slow]

LIMIT_MS = 120_000
# What a person would take for a fault, whenever it is there.
WATCH = """() => {
  window.complaints = []
  const look = () => {
    for (const { textContent: text } of document.querySelectorAll('[role="alert"], .notice, .toast, .field-error'))
      if (text.trim() && !window.complaints.includes(text)) window.complaints.push(text)
  }
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true })
  look()
}"""


class Pair:
    """Two servers of one group on ports of their own, and a proxy before both."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._settings = {"DATABASE_URL": url, "LEADER_ELECTION": "True", "FAKE_ENGINE": "ParallelFakeEngine"}
        self.servers = [self._start(), self._start()]
        ports = (self.servers[0].port, self.servers[1].port)
        (folder / "proxy").mkdir()
        self.port = stack.enter_context(nginx_before_several(folder / "proxy", ports))

    def _start(self, port: int = 0) -> RunningServer:
        return self._stack.enter_context(server_in(self._folder, PORT=str(port), **self._settings))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill_and_restart(self, index: int) -> None:
        killed = self.servers[index]
        kill_all(killed)
        self.servers[index] = self._start(killed.port)


@pytest.fixture
def pair(tmp_path: Path, postgresql: PostgresqlServer) -> Iterator[Pair]:
    name = postgresql.database()
    with ExitStack() as stack:
        yield Pair(tmp_path, postgresql.url(name), stack)
    postgresql.give_back(name)


@pytest.fixture
def page(browser: Browser, pair: Pair) -> Iterator[Page]:
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults = watch_for_faults(page)
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(pair.address)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    context.close()
    assert faults == []


def test_each_of_two_servers_is_killed_and_restarted_and_nobody_notices(page: Page, pair: Pair, tmp_path: Path) -> None:
    """First the leader, then the one that leads next, while a task runs and the page shows its text grow."""
    recording = noise(tmp_path / "long.wav", minutes=20)  # forty windows
    page.evaluate(WATCH)
    page.evaluate("localStorage.setItem('whisper.prompt', JSON.stringify('window_s=1.5'))")
    page.reload()
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    page.evaluate(WATCH)
    expect(page.get_by_test_id("option-model")).not_to_have_value("")
    page.get_by_test_id("file-input").set_input_files(recording)
    expect_status(page, recording.name, "processing", timeout=LIMIT_MS)
    task(page, recording.name).get_by_test_id("open").click()
    for index in (0, 1):
        seen = segments_after(page, 0)
        pair.kill_and_restart(index)
        segments_after(page, seen)
        expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    expect_status(page, recording.name, "completed", timeout=LIMIT_MS)
    client = Client(pair.servers[0])
    (done,) = client.get("/api/tasks").json()["tasks"]
    text = client.transcript(done["id"])["text"]
    assert text == expected_text(recording)
    expect(page.get_by_test_id("segments")).to_contain_text(text.split()[-1])
    shown = page.get_by_test_id("segments").inner_text()
    assert [word for word in text.split() if word not in shown] == []
    assert page.evaluate("window.complaints") == []


def segments_after(page: Page, count: int) -> int:
    """Waits for more segments of the open task than there were."""
    page.wait_for_function(
        'count => document.querySelectorAll(\'[data-testid="segments"] [data-testid="segment"]\').length > count',
        arg=count,
        timeout=LIMIT_MS,
    )
    return page.locator('[data-testid="segments"] [data-testid="segment"]').count()
