"""The whole server on PostgreSQL: a recording becomes a text, and nothing is lost whatever is killed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgresql_server
from tests.leaks import outliving_tests
from tests.postgresql_server import PASSWORD, PostgresqlServer
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.server.test_kills import answers, expected_text, kill, kill_all

pytestmark = pytest.mark.server


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[str]:
    """Of a database without a table."""
    name = postgresql.new_database()
    yield postgresql.url(name)
    postgresql.drop(name)


def test_a_recording_is_transcribed_found_and_deleted(start_server: StartServer, five_minutes: Path, url: str) -> None:
    with start_server(DATABASE_URL=url) as server:
        client = Client(server)
        task_id = client.upload(five_minutes, key="once")["id"]
        assert client.upload(five_minutes, key="once")["id"] == task_id
        client.wait_for(task_id, "completed")
        assert client.transcript(task_id)["text"] == expected_text(five_minutes)
        word = expected_text(five_minutes).split()[0]
        found = client.get("/api/tasks", q=word).json()
        assert [task["id"] for task in found["tasks"]] == [task_id]
        assert client.get("/readyz").status_code == 200
        assert not list(server.data_dir.glob("tasks.db*"))
        client.delete(task_id)
        assert client.get("/api/tasks", q=word).json()["tasks"] == []
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        assert PASSWORD not in "".join(server.lines)


def test_after_a_kill_in_the_middle_everything_is_found_again(
    start_server: StartServer, five_minutes: Path, url: str
) -> None:
    with start_server(DATABASE_URL=url) as server:
        client = Client(server)
        waiting = client.upload(five_minutes, initial_prompt="window_s=0.4")["id"]
        client.wait_for_progress(waiting, beyond=0.2)
        other = client.upload(five_minutes)["id"]
        kill_all(server)
    with start_server(DATABASE_URL=url) as server:
        client = Client(server)
        tasks = [client.wait_for(task_id, "completed") for task_id in (waiting, other)]
        assert tasks[0]["attempts"] == 2
        for task_id in (waiting, other):
            assert client.transcript(task_id)["text"] == expected_text(five_minutes)
        kill(server.worker)
        client.wait_until(lambda: answers(client), "an answer after the kill")
        assert client.get("/api/tasks").json()["counts"]["completed"] == 2


def test_a_database_server_that_goes_away_and_comes_back_loses_nothing(
    start_server: StartServer, five_minutes: Path
) -> None:
    if (reason := postgresql_server.missing()) is not None:
        pytest.skip(reason)
    with postgresql_server.running() as database:
        name = database.new_database()
        with start_server(DATABASE_URL=database.url(name)) as server, outliving_tests(database.process):
            client = Client(server)
            task_id = client.upload(five_minutes, initial_prompt="window_s=0.4")["id"]
            client.wait_for_progress(task_id, beyond=0.2)
            database.stop(signal.SIGQUIT)
            refused = client.try_upload(five_minutes)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_busy")
            client.wait_until(lambda: client.get("/readyz").status_code == 503, "readyz to say so")
            assert client.get("/healthz").status_code == 200
            threading.Event().wait(1.0)  # longer than a window takes
            database.start()
            client.wait_for(task_id, "completed")
            assert client.transcript(task_id)["text"] == expected_text(five_minutes)
            client.wait_until(lambda: client.get("/readyz").status_code == 200, "readyz to be content")
            client.wait_for(client.upload(five_minutes)["id"], "completed")
            assert PASSWORD not in "".join(server.lines)


def test_a_start_that_cannot_be_says_why_without_the_password(
    start_server: StartServer, postgresql: PostgresqlServer, url: str
) -> None:
    for wrong, code, message in (
        (postgresql.url(password="wr0ng"), 2, "the user or the password is wrong"),
        (url.replace(f":{postgresql.port}/", ":1/"), 1, "cannot be reached"),
        ("postgresql://me:hunter2:pw@[/name", 2, "DATABASE_URL"),
    ):
        server = start_server(DATABASE_URL=wrong)
        assert server.wait() == code
        said = "".join(server.lines)
        assert message in said
        assert not any(secret in said for secret in (PASSWORD, "wr0ng", "hunter2"))


def test_a_second_server_on_the_same_database_is_refused(start_server: StartServer, tmp_path: Path, url: str) -> None:
    with start_server(DATABASE_URL=url):
        second = start_server(DATABASE_URL=url, DATA_DIR=str(tmp_path / "other"))
        assert second.wait() == 4
        assert "Another server uses this database" in "".join(second.lines)
