"""A task that ends the server or its worker each time is given up; one that only was there never is."""

from __future__ import annotations

import pytest

from tests.paths import SHORT
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.server.test_kills import answers, kill, kill_all

pytestmark = pytest.mark.server

LAST_DEATH = 4  # one with the others beside it, then three alone


@pytest.mark.proves("F47")
def test_a_task_that_makes_its_worker_crash_is_given_up_after_three_and_the_others_complete(
    start_server: StartServer,
) -> None:
    with start_server(FAKE_ENGINE="ParallelFakeEngine", MAX_TASK_RETRIES="20") as server:
        client = Client(server)
        ids = [client.upload(SHORT, initial_prompt="window_s=0.2")["id"] for _ in range(3)]
        poison = client.upload(SHORT, initial_prompt="abort@0")["id"]
        task = client.wait_for(poison, "failed")
        assert task["error"]["code"] == "poison"
        assert [client.wait_for(task_id, "completed")["error"] for task_id in ids] == [None] * 3
        assert client.get("/healthz").status_code == 200
        events = client.get(f"/api/tasks/{poison}/timeline").json()["events"]
        assert [event["code"] for event in events].count("started") in (LAST_DEATH - 1, LAST_DEATH)


def test_a_task_that_ends_the_whole_server_each_time_is_given_up_and_the_others_complete(
    start_server: StartServer,
) -> None:
    with start_server(FAKE_ENGINE="ParallelFakeEngine") as server:
        client = Client(server)
        ids = [client.upload(SHORT, initial_prompt="window_s=0.5")["id"] for _ in range(2)]
        poison = client.upload(SHORT, initial_prompt="window_s=0.5 kill_server@0")["id"]
        assert server.wait() == -9
    for _ in range(LAST_DEATH):
        with start_server(FAKE_ENGINE="ParallelFakeEngine") as server:
            if state_of(Client(server), poison) == "failed":
                break
            assert server.wait() == -9
    with start_server(FAKE_ENGINE="ParallelFakeEngine") as server:
        client = Client(server)
        assert client.task(poison)["error"]["code"] == "poison"
        assert [client.wait_for(task_id, "completed")["error"] for task_id in ids] == [None] * 2


def wait_for_one_at_work(client: Client, ids: list[str]) -> None:
    client.wait_until(lambda: any(client.task(each)["status"] == "processing" for each in ids), "one at work")


def state_of(client: Client, task_id: str) -> str | None:
    """None when the server is gone before it answers."""
    try:
        return str(client.task(task_id)["status"])
    except OSError:
        return None


def test_three_kills_of_the_web_process_fail_none_of_six_ordinary_tasks(start_server: StartServer) -> None:
    with start_server(FAKE_ENGINE="ParallelFakeEngine") as server:
        client = Client(server)
        ids = [client.upload(SHORT, initial_prompt="window_s=1")["id"] for _ in range(6)]
        for _ in range(3):
            wait_for_one_at_work(client, ids)
            kill(server.worker)
            client.wait_until(lambda: answers(client), "an answer after the kill")
        tasks = [client.wait_for(task_id, "completed") for task_id in ids]
        assert [task["error"] for task in tasks] == [None] * 6


def test_kills_of_everything_fail_none_of_three_tasks_that_ran_together(start_server: StartServer) -> None:
    """Whoever is next in its first window is another one each time."""
    with start_server(FAKE_ENGINE="ParallelFakeEngine") as server:
        client = Client(server)
        ids = [client.upload(SHORT, initial_prompt="window_s=5")["id"] for _ in range(3)]
        client.wait_until(lambda: all(client.task(each)["status"] == "processing" for each in ids), "three at work")
        kill_all(server)
    for _ in range(4):
        with start_server(FAKE_ENGINE="ParallelFakeEngine") as server:
            client = Client(server)
            wait_for_one_at_work(client, ids)
            assert [client.task(each)["status"] for each in ids].count("processing") <= 1
            kill_all(server)
    with start_server(FAKE_ENGINE="ParallelFakeEngine") as server:
        client = Client(server)
        assert {client.wait_for(task_id, "completed")["error"] for task_id in ids} == {None}
