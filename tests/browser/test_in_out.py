"""Recording with the microphone, files that other programs share, and what the page asks before its script is read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import watch_for_faults
from tests.browser.uploading import upload

pytestmark = pytest.mark.browser

# A microphone in which something beeps.
BROWSER_FLAGS = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
SOME = re.compile("0:(0[3-9]|[1-5][0-9])")  # so much that the first two seconds are on the disk
ALL_GONE = """async () => {
  const { keptFiles } = await import('./static/util/kept-files.js')
  while ((await keptFiles()).length > 0) await new Promise(requestAnimationFrame)
}"""
KEPT = """async () => {
  const { keptFiles } = await import('./static/util/kept-files.js')
  return (await keptFiles()).length
}"""


@pytest.fixture
def page(browser: Browser, quiet_server: str) -> Iterator[Page]:
    """Where an upload is a task at once, and nothing happens by itself."""
    context = browser.new_context(locale="en-US", permissions=["microphone"])
    page = context.new_page()
    faults = watch_for_faults(page)
    page.goto(quiet_server)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "connected")
    yield page
    context.close()
    assert faults == []


def test_a_recording_becomes_a_task_and_is_kept_until_then(page: Page) -> None:
    upload(page, ("before.flac", b"fLaC and sound"))  # above a queue there is one line for files
    expect(page.get_by_test_id("task").filter(has_text="before.flac")).to_be_visible()
    page.get_by_test_id("record").click()
    expect(page.get_by_role("timer")).to_have_text(SOME)
    assert page.evaluate(KEPT) == 1
    page.set_viewport_size({"width": 720, "height": 800})  # as wide as the queue beside an open text
    box = page.get_by_test_id("drop-zone").bounding_box()
    assert box is not None
    assert box["height"] < 150
    page.get_by_test_id("record-stop").click()
    expect(page.get_by_test_id("task").filter(has_text="Recording 20")).to_be_visible()
    page.evaluate(ALL_GONE)


def test_an_interrupted_recording_is_offered_again(page: Page) -> None:
    page.get_by_test_id("record").click()
    expect(page.get_by_role("timer")).to_have_text(SOME)
    page.reload()
    left = page.get_by_test_id("interrupted")
    expect(left).to_contain_text("was interrupted")
    left.get_by_role("button", name="Discard").click()
    expect(page.get_by_test_id("confirm")).to_contain_text("cannot be brought back")
    page.get_by_test_id("confirm-no").click()
    tasks = page.get_by_test_id("task").count()
    left.get_by_role("button", name="Transcribe").click()
    expect(page.get_by_test_id("task")).to_have_count(tasks + 1)
    expect(left).to_have_count(0)


def test_a_discarded_recording_leaves_nothing(page: Page) -> None:
    page.get_by_test_id("record").click()
    page.get_by_test_id("record-discard").click()
    expect(page.get_by_test_id("record")).to_be_visible()
    page.evaluate(ALL_GONE)


def test_what_another_program_shares_with_the_installed_page_is_sent(page: Page) -> None:
    page.evaluate(
        """async () => {
          await navigator.serviceWorker.ready
          while (!navigator.serviceWorker.controller) await new Promise(requestAnimationFrame)
          const form = new FormData()
          form.append('file', new File(['fLaC of a phone'], 'memo of a phone.flac', { type: 'audio/flac' }))
          await fetch('share-target', { method: 'POST', body: form })
        }"""
    )
    page.reload()
    expect(page.get_by_test_id("task").filter(has_text="memo of a phone.flac")).to_be_visible()
    page.evaluate(ALL_GONE)


def test_there_is_no_link_to_a_file_unless_the_administrator_allows_it(page: Page) -> None:
    expect(page.get_by_test_id("drop-zone")).to_contain_text("Up to")  # so the settings are here
    expect(page.get_by_test_id("add-link")).to_have_count(0)


def test_a_kept_recording_whose_upload_is_taken_back_is_gone(page: Page) -> None:
    """Else the next visit of the page would send it."""
    page.evaluate("""async () => {
      const { keepFile } = await import('./static/util/kept-files.js')
      await keepFile({ id: 'a', name: 'taken back.wav', type: 'audio/wav', at: 5 }, new Blob(['sound']))
    }""")
    page.route("**/api/uploads", lambda route: route.abort())
    page.reload()
    row = page.get_by_test_id("upload").filter(has_text="taken back.wav")
    row.get_by_test_id("upload-remove").click()
    expect(row).to_have_count(0)
    page.evaluate(ALL_GONE)


def test_what_is_asked_before_the_script_is_read_is_what_the_page_asks(page: Page) -> None:
    early = page.evaluate("[...document.querySelectorAll('link[rel=preload][as=fetch]')].map((link) => link.href)")
    assert len(early) == 3
    page.wait_for_function(  # again, once the live feed is connected
        """(early) => {
          const requests = performance.getEntriesByType('resource')
          const fetched = requests.filter(({ initiatorType }) => initiatorType === 'fetch')
          const asked = new Set(fetched.map(({ name }) => name))
          return early.every((address) => asked.has(address))
        }""",
        arg=early,
    )
