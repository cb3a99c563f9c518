"""PgBouncer between the server and PostgreSQL: with sessions of one's own all is as without it, and any other mode is
refused, because a second server would be let in."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from errors import InvalidSettingsError
from optimizer.storage.store import TaskStore
from tests.postgresql_server import PASSWORD, USER, PostgresqlServer, as_ordinary_user, free_port, give_away
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.server.test_kills import expected_text
from tests.web.live_client import LiveClient

pytestmark = pytest.mark.server

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
START_LIMIT_S = 30
LOOK_EVERY_S = 0.05


@contextmanager
def pgbouncer(database: PostgresqlServer, **settings: str) -> Iterator[int]:
    """Gives the port on which it stands for that server."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    users, configuration = folder / "users", folder / "pgbouncer.ini"
    users.write_text(f'"{USER}" "{PASSWORD}"\n')
    own = {"listen_addr": "127.0.0.1", "listen_port": str(port), "unix_socket_dir": "", "auth_type": "plain",
           "auth_file": str(users), "default_pool_size": "70", **settings}  # fmt: skip
    lines = [f"{name} = {value}" for name, value in own.items()]
    databases = f"[databases]\n* = host=127.0.0.1 port={database.port}\n"
    configuration.write_text(databases + "\n".join(["[pgbouncer]", *lines, ""]))
    give_away(folder)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([PROGRAM, str(configuration)], stdout=log, stderr=log, **as_ordinary_user())
    try:
        _wait_until_it_listens(port, folder / "log")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_LIMIT_S)
        shutil.rmtree(folder)


def _wait_until_it_listens(port: int, log: Path) -> None:
    pause = threading.Event()
    for _ in range(int(START_LIMIT_S / LOOK_EVERY_S)):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        pause.wait(LOOK_EVERY_S)
    raise AssertionError(log.read_text())


@pytest.fixture
def name(postgresql: PostgresqlServer) -> Iterator[str]:
    """Of a database."""
    name = postgresql.database()
    yield name
    postgresql.give_back(name)


def through(port: int, postgresql: PostgresqlServer, name: str) -> str:
    return postgresql.url(name).replace(f":{postgresql.port}/", f":{port}/")


@pytest.mark.slow
def test_with_sessions_of_its_own_a_group_of_servers_transcribes_tells_and_lets_no_stranger_in(
    start_server: StartServer, five_minutes: Path, postgresql: PostgresqlServer, name: str, tmp_path: Path
) -> None:
    with pgbouncer(postgresql, pool_mode="session") as port:
        url = through(port, postgresql, name)
        with start_server(DATABASE_URL=url, LEADER_ELECTION="True") as leader:
            with start_server(DATABASE_URL=url, LEADER_ELECTION="True") as other, LiveClient(other.port) as live:
                client = Client(other)
                task_id = client.upload(five_minutes, initial_prompt="window_s=0.4")["id"]
                live.ask("watch", {"id": task_id})
                assert live.next("segments")["id"] == task_id
                client.wait_for(task_id, "completed")
                assert client.transcript(task_id)["text"] == expected_text(five_minutes)
            stranger = start_server(DATABASE_URL=url, DATA_DIR=str(tmp_path / "another"))
            assert stranger.wait() == 4
            assert Client(leader).get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"pool_mode": "transaction"},
        {"pool_mode": "transaction", "server_round_robin": "1", "min_pool_size": "2"},
        {"pool_mode": "transaction", "server_round_robin": "1", "min_pool_size": "5"},
        {"pool_mode": "statement"},
    ],
)
def test_a_pooler_that_lends_sessions_is_refused(
    settings: dict[str, str], postgresql: PostgresqlServer, name: str, tmp_path: Path
) -> None:
    with pgbouncer(postgresql, **settings) as port:
        for _ in range(3):  # also when it has several sessions to lend
            store = TaskStore(tmp_path, through(port, postgresql, name))
            with closing(store), pytest.raises(InvalidSettingsError, match="set pool_mode=session") as refused:
                store.open()
            assert f"at 127.0.0.1:{port} is a pooler" in str(refused.value)
            assert PASSWORD not in f"{refused.value!r}"
