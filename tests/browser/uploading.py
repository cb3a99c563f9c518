"""Sends recordings through the page and finds their rows."""

from __future__ import annotations

from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.paths import DATA

MINUTE, SPANISH, SHORT = "dev-minute-01.flac", "dev-spanish.flac", "librivox-0880.flac"
TRANSCRIBING_MS = 270_000  # a minute of speech on a slow CPU, with the model loaded first


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    page.get_by_test_id("file-input").set_input_files(
        [FilePayload(name=name, mimeType="application/octet-stream", buffer=content) for name, content in files]
    )


def recording(name: str) -> bytes:
    return (DATA / name).read_bytes()


def task(page: Page, filename: str) -> Locator:
    return page.locator(f'[data-testid="task"][data-filename="{filename}"]')


def expect_status(page: Page, filename: str, status: str, timeout: float = TRANSCRIBING_MS) -> None:
    expect(task(page, filename)).to_have_attribute("data-status", status, timeout=timeout)


def upload_and_wait(page: Page, filename: str, source: str = SHORT) -> None:
    upload(page, (filename, recording(source)))
    expect_status(page, filename, "completed")
