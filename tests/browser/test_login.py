"""The login as people see it: in both languages and themes, in with a key, and out again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from tests.browser.axe import violations
from tests.browser.conftest import watch_for_faults
from tests.web.running_server import RunningServer

pytestmark = [pytest.mark.browser, pytest.mark.server]

ADMIN_KEY, ALICE_KEY = "k" * 40, "a" * 40


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with accounts, around a FakeSystem."""
    env = {"API_KEYS": f"admin:{ADMIN_KEY},alice:{ALICE_KEY}"}
    with RunningServer(tmp_path_factory.mktemp("guarded"), env=env) as server, server.outliving_tests():
        yield server.address


@pytest.fixture
def login_page(browser: Browser, guarded_server: str) -> Iterator[Page]:
    context = browser.new_context(locale="en-US", color_scheme="dark")
    page = context.new_page()
    faults = watch_for_faults(page)
    page.goto(guarded_server)
    yield page
    context.close()
    assert faults == []


def log_in(page: Page, name: str, key: str) -> None:
    page.locator("input[name=name]").fill(name)
    page.locator("input[name=key]").fill(key)
    page.locator("button[type=submit]").click()


def test_somebody_logs_in_sees_who_they_are_and_logs_out(login_page: Page) -> None:
    expect(login_page.get_by_test_id("login")).to_be_visible()
    expect(login_page.get_by_text("Log in")).to_be_visible()
    expect(login_page.get_by_text("登录")).to_be_hidden()
    expect(login_page.locator("html")).to_have_attribute("data-theme", "dark")
    log_in(login_page, "alice", ADMIN_KEY)
    expect(login_page.get_by_role("alert")).to_contain_text("do not match")
    log_in(login_page, "Alice", ALICE_KEY)
    expect(login_page.get_by_test_id("account")).to_contain_text("alice")
    expect(login_page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    login_page.get_by_test_id("view-system").click()
    expect(login_page.get_by_test_id("event-log")).to_be_visible()
    expect(login_page.get_by_test_id("log")).to_have_count(0)
    expect(login_page.get_by_test_id("kind-audit")).to_have_count(0)
    login_page.get_by_test_id("log-out").click()
    expect(login_page.get_by_test_id("login")).to_be_visible()


def test_the_admin_sees_what_people_did_and_whose_a_task_is(login_page: Page, guarded_server: str) -> None:
    headers = {"Authorization": f"Bearer {ALICE_KEY}"}
    files = {"file": ("alices.flac", b"fLaC and then sound")}
    assert requests.post(f"{guarded_server}/api/tasks", files=files, headers=headers, timeout=30).status_code == 202
    log_in(login_page, "admin", ADMIN_KEY)
    expect(login_page.get_by_test_id("task-owner")).to_have_text("Account: alice")
    login_page.get_by_test_id("view-system").click()
    expect(login_page.get_by_test_id("log")).to_be_visible()
    login_page.get_by_test_id("kind-audit").click()
    expect(login_page.get_by_test_id("events")).to_contain_text("admin logged in")


def test_the_page_leads_to_the_login_once_the_session_is_over(login_page: Page) -> None:
    log_in(login_page, "admin", ADMIN_KEY)
    expect(login_page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    login_page.context.clear_cookies()
    login_page.get_by_test_id("view-system").click()  # asks the server for something
    expect(login_page.get_by_test_id("login")).to_be_visible()


def test_the_login_speaks_chinese(browser: Browser, guarded_server: str) -> None:
    context = browser.new_context(locale="zh-CN", color_scheme="light")
    page = context.new_page()
    page.goto(guarded_server)
    expect(page.get_by_role("button", name="登录")).to_be_visible()
    expect(page.get_by_text("Log in")).to_be_hidden()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    context.close()


def test_axe_finds_nothing_in_the_login(browser: Browser, guarded_server: str) -> None:
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(guarded_server)
    log_in(page, "alice", ADMIN_KEY)
    expect(page.get_by_role("alert")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.reload()
        assert violations(page) == []
    context.close()
