"""Sends recordings through the page and finds their rows."""

from __future__ import annotations

from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.paths import DATA

MINUTE, LONGER, SHORT = "dev-minute-01.flac", "librivox-0930.flac", "librivox-0880.flac"
TRANSCRIBING_MS = 270_000  # a minute of speech on a slow CPU, with the model loaded first


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    """Each a file of its own, even with the same sound: before it sends one twice, the page asks."""
    page.get_by_test_id("file-input").set_input_files(
        [
            FilePayload(name=name, mimeType="application/octet-stream", buffer=marked(content, name))
            for name, content in files
        ]
    )


def marked(content: bytes, mark: str) -> bytes:
    """The same FLAC with the mark in a block of its own, which decoders skip. Other contents stay as they are."""
    if not content.startswith(b"fLaC"):
        return content
    end = 8 + int.from_bytes(content[5:8], "big")  # of STREAMINFO, the first block
    is_last, kind, data = content[4] & 0x80, content[4] & 0x7F, b"test" + mark.encode()
    block = bytes([is_last | 2]) + len(data).to_bytes(3, "big") + data
    return content[:4] + bytes([kind]) + content[5:end] + block + content[end:]


def recording(name: str) -> bytes:
    return (DATA / name).read_bytes()


def task(page: Page, filename: str) -> Locator:
    return page.locator(f'[data-testid="task"][data-filename="{filename}"]')


def expect_status(page: Page, filename: str, status: str, timeout: float = TRANSCRIBING_MS) -> None:
    expect(task(page, filename)).to_have_attribute("data-status", status, timeout=timeout)


def upload_and_wait(page: Page, filename: str, source: str = SHORT) -> None:
    upload(page, (filename, recording(source)))
    expect_status(page, filename, "completed")
