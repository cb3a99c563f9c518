"""A server that is asked to stop while everything is under way: tasks, uploads, new requests and open pages."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.paths import MINUTE
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.web.live_client import LiveClient
from tests.web.raw_client import FILE_END, FILE_START, RawClient, upload_head
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

FILE_HEAD = FILE_START.removesuffix(b"fLaC")
BEGINNING_BYTES = 200_000  # of the upload: enough for a part of it to be written down


def unfinished_uploads(server: RunningServer) -> list[str]:
    return sorted(path.name for path in (server.data_dir / "incoming").glob("*"))


def rows(server: RunningServer) -> dict[str, tuple[str, int, int]]:
    """Of a server that has ended: status, windows and interrupts that count against it, by the id."""
    with closing(sqlite3.connect(f"file:{server.data_dir}/tasks.db?mode=ro", uri=True)) as database:
        found = database.execute("SELECT id, status, windows_done, interrupts FROM tasks").fetchall()
    return {task_id: (status, windows, interrupts) for task_id, status, windows, interrupts in found}


@pytest.mark.proves("F36")
@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=str)
def test_a_signal_lets_requests_end_refuses_new_ones_closes_sockets_and_gives_tasks_back(
    start_server: StartServer, five_minutes: Path, signals: list[signal.Signals]
) -> None:
    """An upload in progress is accepted after the first signal, and broken off by the second."""
    body = FILE_HEAD + MINUTE.read_bytes() + FILE_END
    with start_server() as server, ExitStack() as stack:
        client = Client(server)
        running = client.upload(five_minutes, initial_prompt="window_s=0.5")["id"]
        client.wait_until(lambda: client.task(running)["windows_done"] >= 1, "one window")
        live = stack.enter_context(LiveClient(server.port))
        upload = stack.enter_context(RawClient(server.port))
        upload.request(upload_head(len(body)), body[:BEGINNING_BYTES])
        waiting = stack.enter_context(RawClient(server.port))
        waiting.send(b"GET /api/tasks HTTP/1.1\r\n")
        client.wait_until(lambda: unfinished_uploads(server) != [], "the upload's beginning")
        server.send(signals[0])
        live.wait_until_closed()
        waiting.send(b"Host: localhost\r\n\r\n")
        refused = waiting.answer()
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "shutting_down", "5")
        if len(signals) == 1:
            upload.send(body[BEGINNING_BYTES:])
            assert upload.answer().status == 202
        else:
            server.send(signals[1])
            assert upload.is_closed()
        assert server.wait() == 0
    kept = rows(server)
    assert len(kept) == (2 if len(signals) == 1 else 1)
    assert {status for status, _, _ in kept.values()} == {"pending"}
    assert kept[running][1] >= 1
    assert {interrupts for _, _, interrupts in kept.values()} == {0}
    assert unfinished_uploads(server) == []
