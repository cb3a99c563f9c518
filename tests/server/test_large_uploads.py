"""Large files are written once, directly to their place, and need almost no memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psutil
import pytest
import requests

from tests.web.running_server import RunningServer
from tests.whisper_core.audio.media_corpus import wav_header

pytestmark = pytest.mark.server

PIECE = bytes(1_000_000)
MEGABYTES = 1000
MOST_GROWTH = 50_000_000
BOUNDARY = b"----piece"


def multipart_wav(megabytes: int) -> Iterator[bytes]:
    """A form with one silent wav, generated piece by piece; its 16 kHz samples are a twelfth of its size."""
    yield b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="long.wav"\r\n\r\n'
    yield wav_header(megabytes * len(PIECE), channels=2, rate=96_000)
    for _ in range(megabytes):
        yield PIECE
    yield b"\r\n--" + BOUNDARY + b"--\r\n"


def peak_of(process: psutil.Process) -> int:
    """The process's highest resident memory so far, in bytes."""
    with open(f"/proc/{process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def test_memory_stays_flat_and_the_file_is_written_once(start_server: Callable[..., RunningServer]) -> None:
    with start_server() as server:
        worker = server.worker
        before = peak_of(worker)
        written_before = worker.io_counters().write_bytes
        response = requests.post(
            f"{server.address}/api/tasks",
            data=multipart_wav(MEGABYTES),
            headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"},
            timeout=240,
        )
        assert response.status_code == 202, response.text
        size = MEGABYTES * len(PIECE)
        task = response.json()["task"]
        assert (server.data_dir / "media" / task["id"]).stat().st_size == size + 44
        assert peak_of(worker) - before < MOST_GROWTH
        written = worker.io_counters().write_bytes - written_before
        assert written < 1.2 * size  # the rest is samples and the database
        requests.delete(f"{server.address}/api/tasks/{task['id']}", timeout=60)
        assert list((server.data_dir / "media").iterdir()) == []
