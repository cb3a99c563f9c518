"""The browser, and the servers that the browser tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.leaks import children, outliving_tests
from tests.server.conftest import noise, server_in
from tests.web.running_server import RunningServer

expect.set_options(timeout=30_000)  # instead of 5 s: on a busy machine the page may be slow, but not wrong

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[str]:
    """The address of the real program, with tiny.en on the CPU and a measurement every other second.

    One server for all tests of the module, which therefore name their files apart.
    """
    settings = {"MODELS_DIR": str(models_dir), "PERFORMANCE_MONITOR_INTERVAL": "2"}
    with server_in(tmp_path_factory.mktemp("live"), "main", **settings) as server, server.outliving_tests():
        yield server.address


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the web package around a FakeSystem, where nothing happens by itself."""
    with RunningServer(tmp_path_factory.mktemp("quiet")) as server, server.outliving_tests():
        yield server.address


@pytest.fixture(scope="session")
def five_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("sound") / "five.wav", minutes=5)


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """With the module's own BROWSER_FLAGS, if it has any."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    flags = [*FLAGS, *getattr(request.module, "BROWSER_FLAGS", [])]
    before = children()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        with outliving_tests(*(children() - before)):
            yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, live_server: str) -> Iterator[Page]:
    """An English page whose script errors and blocked contents fail the test."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults = watch_for_faults(page)
    page.goto(live_server)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    context.close()
    assert faults == []


def watch_for_faults(page: Page) -> list[str]:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))

    def on_console(message: Any) -> None:
        if "Content Security Policy" in message.text:
            faults.append(message.text)

    page.on("console", on_console)
    return faults
