"""`python main.py` as its users see it: messages, exit codes, and the memory that it needs."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.paths import SHORT
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

WEB_MEMORY_LIMIT = 120_000_000


def outcome(server: RunningServer) -> tuple[int, str]:
    """Exit code and log of a server that does not start."""
    code = server.wait()
    return code, "".join(server.lines)


def test_bad_settings_end_the_start_with_one_message(start_server: StartServer) -> None:
    code, log = outcome(start_server("main", PORT="abc", MAX_BATCH_SIZE="0", SECRET_KEY="too-short-a-secret"))
    assert code == 2
    assert "PORT = 'abc'" in log
    assert "MAX_BATCH_SIZE = '0'" in log
    assert "too-short-a-secret" not in log
    assert "Traceback" not in log


def test_a_second_server_on_the_same_folder_ends_with_4_and_the_first_goes_on(start_server: StartServer) -> None:
    with start_server() as first:
        code, log = outcome(start_server())
        assert code == 4
        assert f"in use by pid {first.worker.pid}" in log
        assert Client(first).get("/healthz").status_code == 200


@pytest.mark.proves("F05")
def test_a_damaged_database_is_named_and_left_as_it_is(start_server: StartServer, tmp_path: Path) -> None:
    """No database at all; one whose first page is overwritten, beside the backup that a migration made."""
    with start_server() as server:
        Client(server).wait_for(Client(server).upload(SHORT)["id"], "completed")
    database = tmp_path / "data" / "tasks.db"
    first_page_gone = b"\xff" * 4096 + database.read_bytes()[4096:]
    for content, restore in (
        (b"this is no database" * 1000, "sqlite3 damaged.db .recover | sqlite3 tasks.db"),
        (first_page_gone, "cp tasks.db.before-0002 tasks.db"),
    ):
        database.write_bytes(content)
        code, log = outcome(start_server())
        assert (code, "Traceback" in log) == (3, False)
        assert "tasks.db was left as it is. To restore it" in log
        assert restore in log
        assert database.read_bytes() == content
        (tmp_path / "data" / "tasks.db.before-0002").touch()


def test_a_busy_port_is_named(start_server: StartServer) -> None:
    with start_server() as first:
        code, log = outcome(start_server(PORT=str(first.port)))
    assert code == 1
    assert f"port {first.port}" in log


@pytest.mark.proves("S25")
def test_a_public_host_without_accounts_is_refused_with_2(start_server: StartServer) -> None:
    with start_server() as server:  # by default nobody else can reach it, and nothing has to be proved
        assert {connection.laddr.ip for connection in listening(server)} == {"127.0.0.1"}
        assert Client(server).get("/api/tasks").status_code == 200
    code, log = outcome(start_server(HOST="0.0.0.0"))
    assert code == 2
    (line,) = [line for line in log.splitlines() if "HOST=0.0.0.0" in line]
    assert "keys add" in line
    assert "API_KEYS" in line
    assert "Traceback" not in log


def listening(server: RunningServer) -> list[Any]:
    return [each for each in server.worker.net_connections("tcp") if each.status == psutil.CONN_LISTEN]


def test_the_start_logs_the_devices_and_models(start_server: StartServer) -> None:
    with start_server() as server:
        log = "".join(server.lines)
    assert "device=cpu" in log
    assert "memory_gb=" in log
    assert "models_here=tiny.en" in log
    assert "path=optimized" in log
    with start_server(ENABLE_OPTIMIZATION_SYSTEM="False") as server:
        assert "path=plain" in "".join(server.lines)


def test_the_web_process_has_no_torch_and_stays_small(start_server: StartServer) -> None:
    with start_server() as server:
        client = Client(server)
        client.wait_for(client.upload(SHORT)["id"], "completed")
        for path in ("/", "/openapi/openapi.json", "/api/models", "/api/system", "/api/tasks"):
            assert client.get(path).status_code == 200, path
        for process in (psutil.Process(server.pid), server.worker):
            mapped = [entry.path for entry in process.memory_maps()]
            assert [path for path in mapped if "torch" in path] == []
            assert process.memory_info().rss < WEB_MEMORY_LIMIT


def test_logs_name_no_file_and_no_text(start_server: StartServer, tmp_path: Path) -> None:
    named = tmp_path / "salary-negotiation.flac"
    named.write_bytes(SHORT.read_bytes())
    with start_server() as server:
        client = Client(server)
        task = client.wait_for(client.upload(named)["id"], "completed")
        text = client.transcript(task["id"])["text"].strip()
    log = "".join(server.lines)
    assert task["id"] in log
    assert "salary" not in log
    assert text not in log
    assert str(tmp_path) not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server_with_0(start_server: StartServer, number: int) -> None:
    with start_server() as server:
        server.send(number)
        assert server.wait() == 0
