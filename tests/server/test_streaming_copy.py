"""A copy of PostgreSQL that follows by streaming takes the place of a server that died. DATABASE_URL names both."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import postgresql_server
from tests.leaks import outliving_tests
from tests.postgresql_server import COPY, PASSWORD, USER, PostgresqlServer, following
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.server.test_kills import expected_text
from tests.server.test_several_processes import leads
from tests.tcp_proxy import tcp_proxy
from tests.web.live_client import LiveClient

pytestmark = [pytest.mark.server, pytest.mark.slow]

SLOWLY = "window_s=0.4"


@pytest.fixture
def primary() -> Iterator[PostgresqlServer]:
    if (reason := postgresql_server.missing()) is not None:
        pytest.skip(reason)
    with postgresql_server.running() as server:
        yield server


def address(database: str, *servers: PostgresqlServer) -> str:
    hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://{USER}:{PASSWORD}@/{database}?{hosts}&target_session_attrs=read-write"


def wait_until_it_follows_synchronously(primary: PostgresqlServer) -> None:
    primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = {COPY}")
    primary.execute("SELECT pg_reload_conf()")
    pause = threading.Event()
    for _ in range(600):
        if primary.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)]:
            return
        pause.wait(0.05)
    raise AssertionError("the copy does not follow")


@contextmanager
def uploading(client: Client, sound: Path) -> Iterator[list[str]]:
    """One upload after the other. Gives the ids of the accepted tasks, which become more."""
    accepted: list[str] = []
    stops = threading.Event()

    def upload() -> None:
        while not stops.is_set():
            answer = client.try_upload(sound)
            if answer.status_code == 202:
                accepted.append(answer.json()["task"]["id"])

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        yield accepted
    finally:
        stops.set()
        thread.join()


def test_a_group_goes_on_with_a_copy_that_followed_synchronously_and_has_every_accepted_task(
    start_server: StartServer, five_minutes: Path, primary: PostgresqlServer
) -> None:
    name = primary.database()
    with following(primary) as copy, outliving_tests(primary.process, copy.process):
        wait_until_it_follows_synchronously(primary)
        settings = {"DATABASE_URL": address(name, primary, copy), "LEADER_ELECTION": "True"}
        with start_server(**settings) as first, start_server(**settings) as second:
            client = Client(second)
            running = client.upload(five_minutes, initial_prompt=SLOWLY)["id"]
            client.wait_for_progress(running, beyond=0.2)
            with LiveClient(second.port) as live, uploading(client, five_minutes) as accepted:
                client.wait_until(lambda: len(accepted) > 2, "some uploads")
                primary.stop(signal.SIGQUIT)
                copy.promote()
                before = len(accepted)
                client.wait_until(lambda: len(accepted) > before, "an upload after the promotion")
                live.next("missed")
            for task_id in (running, *accepted):
                client.wait_for(task_id, "completed")
                assert client.transcript(task_id)["text"] == expected_text(five_minutes)
            assert leads(second)
            assert any("event=given_up" in line for line in first.lines)
            for server in (first, second):
                assert Client(server).get("/readyz").status_code == 200


def test_what_a_copy_lacks_that_was_cut_off_is_gone_but_for_the_recordings(
    start_server: StartServer, five_minutes: Path, primary: PostgresqlServer
) -> None:
    """And a single server stores nothing on it until it is restarted."""
    name = primary.database()
    with tcp_proxy(primary.port) as line, following(primary, line.port) as copy:
        url = address(name, primary, copy)
        with outliving_tests(primary.process, copy.process), start_server(DATABASE_URL=url) as server:
            client = Client(server)
            kept = client.upload(five_minutes)["id"]
            client.wait_for(kept, "completed")
            wait_until_all_is_there(primary, copy)
            line.refuse()
            lost = client.upload(five_minutes)["id"]
            client.wait_for(lost, "completed")
            primary.stop(signal.SIGQUIT)
            copy.promote()
            client.wait_until(lambda: client.get("/readyz").status_code == 503, "readyz to say so")
            client.wait_until(lambda: "Restart the server" in client.get("/healthz").text, "healthz to say so")
            assert client.try_upload(five_minutes).status_code == 500
        with outliving_tests(copy.process), start_server(DATABASE_URL=url) as server:
            client = Client(server)
            assert client.transcript(kept)["text"] == expected_text(five_minutes)
            assert client.get(f"/api/tasks/{lost}").status_code == 404
            assert any("uploads_without_task=1" in line for line in server.lines)
            assert (server.data_dir / "media" / lost).exists()
            client.wait_for(client.upload(five_minutes)["id"], "completed")


def wait_until_all_is_there(primary: PostgresqlServer, copy: PostgresqlServer) -> None:
    ((written,),) = primary.execute("SELECT pg_current_wal_lsn()::text")
    pause = threading.Event()
    while copy.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written) != [(True,)]:
        pause.wait(0.05)
