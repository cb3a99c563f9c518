"""A worker in a thread, and a recording for it."""

from __future__ import annotations

import multiprocessing
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.whisper_core.worker.pipe import SCRIPTED, WAIT_S, Server
from whisper_core.worker.main import run_worker


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts `run_worker` in a thread; it must have ended when the test has."""
    servers: list[Server] = []
    threads: list[threading.Thread] = []

    def start(factory: str = SCRIPTED, device: str = "cpu", cpu_threads: int = 1) -> Server:
        ours, theirs = multiprocessing.Pipe()
        thread = threading.Thread(target=run_worker, args=(theirs, device, factory, cpu_threads))
        thread.start()
        threads.append(thread)
        servers.append(Server(ours))
        return servers[-1]

    yield start
    for server in servers:
        server.connection.close()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """65 s of samples, so three windows."""
    path = tmp_path / "samples.pcm"
    path.write_bytes(struct.pack("<h", 7) * (65 * 16_000))
    return path
