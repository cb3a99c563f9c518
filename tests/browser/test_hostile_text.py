"""Whatever a file is called and a transcript says, the page shows it and runs none of it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from tests.browser.uploading import SHORT, expect_status, recording, task, upload
from tests.paths import DATA
from tests.server.client import Client
from tests.server.conftest import server_in
from tests.web.running_server import RunningServer
from version import PRODUCT_NAME

pytestmark = pytest.mark.browser

# Each would set window.ran if it ran. A name ends at a slash, so those for names have none.
NAMES = (
    "<img src=x onerror=window.ran=1>",
    '"><svg onload=window.ran=1>',
    "'-(window.ran=1)-'",
    "{{constructor.constructor('window.ran=1')()}}",
    "${window.ran=1}",
    "<iframe srcdoc='<script>parent.ran=1'>",
    "javascript:window.ran=1",
)
TEXT = "</p><script>window.ran=1</script><img src=x onerror=window.ran=1><a href=javascript:window.ran=1>here</a> &amp;"
WATCH = """
Object.defineProperty(window, 'ran', { set() { window.noteFault('a script ran') } })
document.addEventListener('securitypolicyviolation', (event) => window.noteFault(event.violatedDirective))
"""


@pytest.fixture(scope="module")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with server_in(tmp_path_factory.mktemp("fake")) as server, server.outliving_tests():
        yield server


@pytest.fixture
def page(browser: Browser, fake_server: RunningServer) -> Iterator[Page]:
    """A page in which a dialog, a script that runs or a violation of the policy fails the test."""
    faults: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        faults.append(dialog.message)
        dialog.dismiss()

    context = browser.new_context(locale="en-US")
    context.expose_function("noteFault", lambda fault: faults.append(fault))
    context.add_init_script(WATCH)
    page = context.new_page()
    page.on("dialog", dismiss)
    page.goto(f"{fake_server.address}/#{quote(NAMES[0])}")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    page.evaluate("async () => { await window.noteFault('what follows is ours'); window.ran = 1 }")
    page.evaluate("window.noteFault('the end')")
    assert faults == ["what follows is ours", "a script ran", "the end"]
    assert page.title().endswith(PRODUCT_NAME)
    context.close()


@pytest.mark.proves("S15")
def test_markup_in_names_texts_prompts_and_errors_is_shown_and_never_run(
    page: Page, fake_server: RunningServer
) -> None:
    client = Client(fake_server)
    for name in NAMES:
        upload(page, (f"{name}.flac", recording(SHORT)), (f"{name}.txt", b"This is no sound. " * 50))
        expect(page.get_by_text(f"{name}.flac").first).to_be_visible()
        expect(page.get_by_test_id("refusal").first).to_be_visible()
        expect(page.get_by_text(f"{name}.txt").first).to_be_visible()
        page.get_by_test_id("upload-remove").first.click()

    client.upload(DATA / SHORT, initial_prompt=f"{NAMES[0]} text={quote(TEXT)}")
    expect_status(page, SHORT, "completed")
    task(page, SHORT).get_by_test_id("open").click()
    expect(page.get_by_test_id("segment").first).to_contain_text(TEXT)
    page.get_by_test_id("timeline").locator("summary").click()
    expect(page.get_by_test_id("step").first).to_be_visible()
    page.reload()
    expect(page.get_by_test_id("segment").first).to_contain_text(TEXT)
    page.keyboard.press("Escape")
    page.get_by_test_id("search").fill(NAMES[0])
    expect(page.get_by_text(f"{NAMES[0]}.flac").first).to_be_visible()
    page.get_by_test_id("search").fill("")

    page.get_by_test_id("view-system").click()
    expect(page.get_by_test_id("event").filter(has_text=NAMES[0]).first).to_be_visible()
    inserted = "[...document.querySelectorAll('img[src=x], svg[onload], iframe, a[href^=javascript]')].length"
    assert page.evaluate(inserted) == 0

    task_id = client.get("/api/tasks").json()["tasks"][0]["id"]
    for path in ("/api/tasks", f"/api/tasks/{task_id}", f"/api/tasks/{task_id}/transcript", f"/api/tasks/{NAMES[0]}"):
        answer = client.get(path)
        assert (answer.headers["Content-Type"], answer.headers["X-Content-Type-Options"]) == (
            "application/json",
            "nosniff",
        )
