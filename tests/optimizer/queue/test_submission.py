"""How a task comes into the queue: in which order, once for each key, up to a limit, and prepared."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from errors import IdempotencyMismatchError, QueueFullError, TaskNotFoundError
from optimizer.tasks.task import ErrorInfo, Priority, TaskOptions, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import OOM, THREADS, Queue, at_once, new_task, ready_ids, running_queue

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py


def test_a_submitted_task_waits_in_order_of_priority_and_then_arrival(queue: Queue) -> None:
    queue.submit("a")
    queue.submit("b", priority=Priority.HIGH)
    queue.submit("c", options=TaskOptions(model="small"))

    assert ready_ids(queue) == ["b", "a", "c"]
    assert [queue.manager.position(task_id) for task_id in "abc"] == [2, 1, 3]
    assert queue.manager.get("a").status is TaskStatus.PENDING
    assert queue.changed == ["a", "b", "c"]


def test_the_places_of_many_are_those_of_each_and_only_of_those_that_wait(queue: Queue) -> None:
    for task_id in "abcd":
        queue.submit(task_id, owner=f"owner of {task_id}")
    queue.claim("a")

    assert queue.manager.positions("abcdx") == {"b": 1, "c": 2, "d": 3}
    assert queue.manager.positions("abcdx") == {
        task_id: place for task_id in "abcdx" if (place := queue.manager.position(task_id)) is not None
    }


def test_a_task_is_read_back_as_it_was_submitted(queue: Queue) -> None:
    options = TaskOptions(
        model="tiny.en", language="es", task="translate", initial_prompt="¿Qué?", word_timestamps=True, temperature=0.2
    )
    submitted = queue.submit("a", options=options, filename="entrevista «1».mp3", idempotency_key="k")

    assert queue.manager.get("a") == submitted
    assert submitted.options == options
    assert submitted.created_at == queue.clock.now()


def test_the_same_key_with_the_same_request_gives_the_first_task_again(queue: Queue) -> None:
    first, was_there = queue.manager.submit(new_task("a", idempotency_key="k"))
    again, is_replay = queue.manager.submit(new_task("b", idempotency_key="k"))

    assert (was_there, is_replay) == (False, True)
    assert again == first
    with pytest.raises(TaskNotFoundError):
        queue.manager.get("b")


@pytest.mark.parametrize("difference", [{"sha256": "1" * 64}, {"options": TaskOptions(model="small")}])
def test_the_same_key_with_another_request_is_refused(queue: Queue, difference: dict[str, object]) -> None:
    queue.submit("a", idempotency_key="k")

    with pytest.raises(IdempotencyMismatchError):
        queue.submit("b", idempotency_key="k", **difference)


def test_eight_threads_with_one_key_make_one_task(queue: Queue) -> None:
    def submit(number: int) -> Callable[[], object]:
        return lambda: queue.manager.submit(new_task(f"t{number}", idempotency_key="k"))

    results = at_once(*map(submit, range(THREADS)))

    assert len({task.id for task, _ in results}) == 1
    assert sorted(is_replay for _, is_replay in results) == [False] + [True] * (THREADS - 1)
    assert queue.manager.counts()[TaskStatus.PENDING] == 1


def test_a_full_queue_refuses_new_tasks_but_not_replays(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock, max_queued=2) as queue:
        first = queue.submit("a", idempotency_key="k")
        queue.submit("b")

        with pytest.raises(QueueFullError):
            queue.submit("c")
        assert queue.manager.submit(new_task("d", idempotency_key="k")) == (first, True)
        queue.claim("a")
        queue.submit("c")


def test_threads_cannot_fill_the_queue_past_its_limit(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock, max_queued=3) as queue:
        results = at_once(*(partial(queue.submit, f"t{number}") for number in range(THREADS)))

        assert sum(isinstance(result, QueueFullError) for result in results) == THREADS - 3
        assert queue.manager.counts()[TaskStatus.PENDING] == 3


def test_an_unprepared_task_waits_but_cannot_be_claimed(queue: Queue) -> None:
    queue.submit("a", audio_seconds=None)
    queue.submit("b", audio_seconds=None, priority=Priority.HIGH)

    assert queue.manager.unprepared() == ["b", "a"]
    assert queue.manager.position("a") == 2
    assert ready_ids(queue) == []
    assert queue.manager.claim("a", "cpu", 1) is None

    prepared = queue.manager.mark_prepared("a", 12.5)
    assert prepared is not None
    assert prepared.audio_seconds == 12.5
    assert queue.manager.unprepared() == ["b"]
    assert [task.audio_seconds for task in queue.manager.waiting()] == [12.5]


def test_a_file_that_cannot_be_prepared_fails_its_task_for_good(queue: Queue) -> None:
    queue.submit("a", audio_seconds=None)

    failed = queue.manager.fail_preparation("a", ErrorInfo("no_audio_stream", "The file has no sound in it."))

    assert failed is not None
    assert (failed.status, failed.attempt) == (TaskStatus.FAILED, 0)
    assert failed.error is not None
    assert failed.error.code == "no_audio_stream"
    assert queue.manager.position("a") is None


def test_preparation_that_ends_after_a_cancel_changes_nothing(queue: Queue) -> None:
    queue.submit("a", audio_seconds=None)
    cancelled = queue.manager.cancel("a")

    assert queue.manager.mark_prepared("a", 5.0) is None
    assert queue.manager.fail_preparation("a", OOM) is None
    assert queue.manager.get("a") == cancelled


def test_the_same_file_is_found_again_by_its_owner_unless_nothing_came_of_it(queue: Queue) -> None:
    mine = {"sha256": "a" * 64, "owner": "alice"}
    first = queue.submit("first", **mine)
    assert queue.manager.find_same_file(first) is None
    queue.submit("another-file", sha256="b" * 64, owner="alice")
    queue.submit("of-somebody-else", sha256="a" * 64, owner="bob")
    second = queue.submit("second", **mine)
    assert queue.manager.find_same_file(second) == "first"
    queue.manager.cancel("second")
    third = queue.submit("third", **mine)
    assert queue.manager.find_same_file(third) == "first"
    assert queue.manager.find_same_file(first) is None
