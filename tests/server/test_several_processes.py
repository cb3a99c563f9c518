"""Several servers on one data folder and one PostgreSQL: one leads, and whichever is killed, nobody notices."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPResponse
from pathlib import Path

import pytest
import requests

from optimizer.storage.postgresql_hold import SERVING
from tests.postgresql_server import PostgresqlServer
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.server.test_accounts import ALICE, API_KEYS, MALLORY, ask, upload
from tests.server.test_kills import answers, expected_text, kill, kill_all
from tests.server.test_resumable_uploads import sending, was_cut_off
from tests.server.tus import TusUpload
from tests.slow_cases import slow
from tests.web.live_client import LiveClient
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

SLOWLY = "window_s=0.4"
LIMIT_S = 60


class Group:
    """Servers of one group, started with the same settings."""

    def __init__(self, start_server: StartServer, url: str, database: str, stack: ExitStack) -> None:
        self._start, self._stack = start_server, stack
        self._settings = {"DATABASE_URL": url, "LEADER_ELECTION": "True"}
        self.database = database
        self.servers: list[RunningServer] = []

    def start(self, **settings: str) -> RunningServer:
        server = self._start(**{**self._settings, **settings})
        self.servers.append(server)
        return self._stack.enter_context(server)


@pytest.fixture
def group(start_server: StartServer, postgresql: PostgresqlServer) -> Iterator[Group]:
    name = postgresql.database()
    with ExitStack() as stack:
        group = Group(start_server, postgresql.url(name), name, stack)
        yield group
    postgresql.give_back(name)
    text = "".join(line for server in group.servers for line in server.lines if "was sent SIGKILL" not in line)
    assert "[ERROR]" not in text, text
    assert "Traceback" not in text, text


def leads(server: RunningServer) -> bool:
    return any("event=leader" in line for line in server.lines)


def test_a_task_that_is_sent_to_a_web_process_is_done_by_the_leader(group: Group, five_minutes: Path) -> None:
    leader, other = group.start(), group.start()
    assert (leads(leader), leads(other)) == (True, False)
    here, there = Client(leader), Client(other)
    with LiveClient(other.port) as live:
        task_id = there.upload(five_minutes, key="once", initial_prompt=SLOWLY)["id"]
        live.ask("watch", {"id": task_id})
        assert live.next("segments")["id"] == task_id
        assert live.next("progress")["id"] == task_id
        there.wait_for(task_id, "completed")
    assert there.upload(five_minutes, key="once", initial_prompt=SLOWLY)["id"] == task_id
    for client in (here, there):
        assert client.transcript(task_id)["text"] == expected_text(five_minutes)
        assert client.get("/readyz").status_code == 200
        assert client.get("/healthz").status_code == 200
    assert there.get(f"/api/tasks/{task_id}/media").content == five_minutes.read_bytes()
    there.delete(task_id)
    assert here.get("/api/tasks").json()["tasks"] == []
    assert not list((leader.data_dir / "media").iterdir())


@pytest.mark.proves("F51")
def test_when_the_leader_is_killed_another_process_goes_on(group: Group, five_minutes: Path) -> None:
    leader, other = group.start(), group.start()
    client = Client(other)
    task_id = client.upload(five_minutes, initial_prompt=SLOWLY)["id"]
    client.wait_for_progress(task_id, beyond=0.2)
    with LiveClient(other.port) as live:
        live.ask("watch", {"id": task_id})
        kill_all(leader)
        live.next("missed")
        during = client.upload(five_minutes)["id"]  # waits for the next leader
        assert leads(other)
        tasks = [client.wait_for(each, "completed") for each in (task_id, during)]
        assert live.next("segments")["id"] == task_id
    assert tasks[0]["attempts"] == 2
    for each in (task_id, during):
        assert client.transcript(each)["text"] == expected_text(five_minutes)
    third = Client(group.start())
    assert third.get("/api/tasks").json()["counts"]["completed"] == 2
    assert third.transcript(task_id) == client.transcript(task_id)


@pytest.mark.slow
@pytest.mark.proves("F52")
def test_an_upload_in_parts_goes_on_when_the_process_that_takes_it_is_killed(group: Group, five_minutes: Path) -> None:
    """First that of a web process, then the leader, and then the one that leads next."""
    sound = five_minutes.read_bytes()
    third = len(sound) // 3
    leader, other, last = group.start(), group.start(), group.start()
    upload = TusUpload(other.address, len(sound))
    with sending(other, upload.begin_patch(0, len(sound)) + sound[:third]) as cut:
        Client(leader).wait_until(lambda: upload.offset(leader.address) > third // 2, "most of the first third")
        promised = upload.offset(leader.address)
        kill_all(other)
        assert was_cut_off(cut)
    offset = upload.offset(last.address)
    assert promised <= offset <= third
    with sending(last, upload.begin_patch(offset, len(sound) - offset) + sound[offset : 2 * third]) as going_on:
        Client(last).wait_until(lambda: upload.offset(last.address) > 1.5 * third, "half of the second third")
        kill_all(leader)
        Client(last).wait_until(lambda: leads(last), "the next leader")
        going_on.sendall(sound[2 * third :])
        with closing(HTTPResponse(going_on)) as answer:
            answer.begin()
            assert answer.status == 204
            task_id = answer.headers["Task-Id"]
    client = Client(last)
    client.wait_for(task_id, "completed")
    assert client.get(f"/api/tasks/{task_id}/media").content == sound
    assert client.transcript(task_id)["text"] == expected_text(five_minutes)
    assert client.get("/api/tasks").json()["counts"]["completed"] == 1


@pytest.mark.proves("F53")
@pytest.mark.parametrize("moment", ["upload.before_sync", slow("upload.committed"), "inserted"])
def test_a_leader_that_dies_while_it_makes_a_task_makes_one_or_none_and_the_next_makes_it(
    group: Group, five_minutes: Path, moment: str
) -> None:
    """The web process that asked does not know whether it was made. Its client is told of one task, once."""
    fault = {"KILL_AFTER_INSERT": "1"} if moment == "inserted" else {"FAULTS": f"{moment}@1=kill"}
    leader, other = group.start(**fault), group.start()
    client = Client(other)
    task_id = client.upload(five_minutes)["id"]
    leader.wait()
    assert leads(other)
    client.wait_for(task_id, "completed")
    assert client.transcript(task_id)["text"] == expected_text(five_minutes)
    assert client.get("/api/tasks").json()["counts"]["completed"] == 1
    assert [path.name for path in (leader.data_dir / "media").iterdir()] == [task_id]
    assert list((leader.data_dir / "incoming").iterdir()) == []


def test_a_leader_that_is_told_to_stop_hands_over_and_nobody_is_refused(group: Group, five_minutes: Path) -> None:
    leader, other = group.start(), group.start()
    client = Client(other)
    task_id = client.upload(five_minutes, initial_prompt=SLOWLY)["id"]
    client.wait_for_progress(task_id, beyond=0.1)
    leader.send(signal.SIGTERM)
    answers = []
    while not leads(other):
        answers.append(client.get(f"/api/tasks/{task_id}").status_code)
        assert len(answers) < 10_000
    assert set(answers) <= {200}
    assert leader.wait() == 0
    client.wait_for(task_id, "completed")
    assert client.transcript(task_id)["text"] == expected_text(five_minutes)


def test_a_leader_that_may_store_nothing_any_more_makes_way_and_comes_back_as_a_standby(
    group: Group, postgresql: PostgresqlServer, five_minutes: Path
) -> None:
    """Its mark in the database is another one's, as after a restore."""
    leader, other = group.start(), group.start()
    client = Client(other)
    task_id = client.upload(five_minutes, initial_prompt=SLOWLY)["id"]
    client.wait_for_progress(task_id, beyond=0.1)
    with postgresql.connected(group.database) as stranger:
        stranger.execute("UPDATE learned SET value = '\"another\"' WHERE name = 'serving'")
    client.wait_until(lambda: leads(other), "the other one to lead")
    client.wait_for(task_id, "completed")
    assert client.transcript(task_id)["text"] == expected_text(five_minutes)
    back = Client(leader)
    back.wait_until(lambda: sum("listening on" in line for line in leader.lines) == 2, "the first one to be back")
    assert back.get("/readyz").status_code == 200
    assert sum("event=given_up" in line for line in leader.lines) == 1
    group.servers.remove(leader)  # what it could not store any more is in its log, as it should be


def test_who_is_logged_in_at_one_process_is_logged_in_at_the_others(group: Group) -> None:
    leader, other = group.start(API_KEYS=API_KEYS), group.start(API_KEYS=API_KEYS)
    person = requests.Session()
    person.headers["Origin"] = other.address
    assert person.get(f"{other.address}/api/tasks", timeout=30).status_code == 401
    person.post(f"{other.address}/login", data={"name": "alice", "key": ALICE}, timeout=30)
    assert person.get(f"{other.address}/api/tasks", timeout=30).status_code == 200
    assert person.get(f"{leader.address}/api/tasks", timeout=30).status_code == 200
    kill_all(leader)
    assert person.get(f"{other.address}/api/tasks", timeout=60).status_code == 200
    task = upload(other, ALICE).json()["task"]["id"]
    assert ask(other, MALLORY, f"/api/tasks/{task}").status_code == 404


def test_without_a_leader_the_process_lives_and_is_not_ready_and_who_asks_waits(
    group: Group, postgresql: PostgresqlServer, five_minutes: Path
) -> None:
    """Somebody else takes the database's lock in between."""
    leader, other = group.start(), group.start()
    client = Client(other)
    task_id = client.upload(five_minutes)["id"]
    with postgresql.connected(group.database) as stranger, ThreadPoolExecutor(2) as threads:
        taken = threads.submit(stranger.execute, f"SELECT pg_advisory_lock({SERVING})")
        client.wait_until(lambda: is_waited_for(postgresql), "the stranger in line")
        kill_all(leader)
        taken.result(LIMIT_S)
        client.wait_until(lambda: client.get("/readyz").status_code == 503, "readyz to say so")
        assert client.get("/healthz").status_code == 200
        waiting = threads.submit(client.task, task_id)
        stranger.execute(f"SELECT pg_advisory_unlock({SERVING})")
        assert waiting.result(LIMIT_S)["id"] == task_id
    assert leads(other)
    client.wait_until(lambda: client.get("/readyz").status_code == 200, "readyz to be content")


def is_waited_for(postgresql: PostgresqlServer) -> bool:
    return postgresql.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") != [(0,)]


def test_the_port_of_home_assistant_is_the_leaders(group: Group) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    leader, other = group.start(WYOMING_PORT=str(port)), group.start(WYOMING_PORT=str(port))
    assert (opened_wyoming(leader), opened_wyoming(other)) == (True, False)
    socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S).close()
    kill_all(leader)
    Client(other).wait_until(partial(opened_wyoming, other), "its port there")
    socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S).close()


def opened_wyoming(server: RunningServer) -> bool:
    return any("event=wyoming_listening" in line for line in server.lines)


def test_a_process_that_is_killed_alone_comes_back_beside_the_next_leader(group: Group, five_minutes: Path) -> None:
    """Only the process with the system dies, and its master starts another one on the same port."""
    first, second = group.start(), group.start()
    task_id = Client(first).upload(five_minutes, initial_prompt=SLOWLY)["id"]
    Client(first).wait_for_progress(task_id, beyond=0.1)
    kill(first.worker)
    for client in (Client(second), Client(first)):
        client.wait_until(partial(answers, client), "an answer after the kill")
        client.wait_for(task_id, "completed")
        assert client.transcript(task_id)["text"] == expected_text(five_minutes)
