"""Requests that wait for their task's end: what they are told, and what becomes of a task that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from werkzeug.exceptions import ClientDisconnected

from errors import ShuttingDownError, TooManyWaitingError
from optimizer.tasks.events import TaskChanged
from optimizer.tasks.task import Task, TaskFilter, TaskStatus
from tests.web.adapters.conftest import LIMIT_S, SendAndWait
from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING, error_of
from web.adapters import waiting
from web.adapters.waiting import WaitingRoom, waiting_places, waiting_room_of
from web.application import Application


@pytest.fixture
def next_task(system: FakeSystem) -> Callable[[], Task]:
    """The next task that somebody makes, or that becomes pending again."""
    made: list[str] = []
    is_here = threading.Semaphore(0)

    def note(event: object) -> None:
        if isinstance(event, TaskChanged) and system.task(event.task_id).task.status is TaskStatus.PENDING:
            made.append(event.task_id)
            is_here.release()

    def take() -> Task:
        assert is_here.acquire(timeout=LIMIT_S)
        return system.task(made.pop(0)).task

    system.add_listener(note)
    return take


def test_the_answer_is_the_text_of_the_requests_own_task(
    system: FakeSystem, send_and_wait: SendAndWait, next_task: Callable[[], Task]
) -> None:
    waiter = send_and_wait()
    task = next_task()
    assert system.media(task.id).read_bytes() == RECORDING
    system.finish_window(task.id, " One")
    system.complete(task.id, " two.")
    assert waiter.answer.get_json() == {"text": " One two.", "filename": "a.flac"}


def test_why_there_is_no_text(system: FakeSystem, send_and_wait: SendAndWait, next_task: Callable[[], Task]) -> None:
    failed = send_and_wait()
    system.fail(next_task().id, "no_audio_stream", "The file has no sound in it.")
    assert error_of(failed.answer) == (422, "no_audio_stream", None)
    cancelled = send_and_wait()
    system.cancel(next_task().id)
    assert error_of(cancelled.answer) == (409, "task_cancelled", None)
    deleted = send_and_wait()
    system.delete(next_task().id)
    assert error_of(deleted.answer) == (409, "task_cancelled", None)


def test_a_client_that_hangs_up_cancels_its_task_and_finds_it_again_by_its_key(
    monkeypatch: pytest.MonkeyPatch, system: FakeSystem, send_and_wait: SendAndWait, next_task: Callable[[], Task]
) -> None:
    monkeypatch.setattr(waiting, "LOOK_EVERY_S", 0.01)
    key = {"Idempotency-Key": "k"}
    waiter = send_and_wait(**key)
    task = next_task()
    waiter.hang_up()
    assert waiter.answer.status_code == 400  # that nobody reads
    assert system.task(task.id).task.status is TaskStatus.CANCELLED
    again = send_and_wait(**key)
    assert next_task().id == task.id
    system.complete(task.id, " Back.")
    assert again.answer.get_json()["text"] == " Back."


def test_a_task_goes_on_while_another_request_waits_for_it(system: FakeSystem, room: WaitingRoom) -> None:
    task_id = system.add().id
    with room.watching(task_id, here):
        with pytest.raises(ClientDisconnected), room.watching(task_id, gone) as watch:
            watch.result()
        assert system.task(task_id).task.status is TaskStatus.PENDING
    assert system.task(task_id).task.status is TaskStatus.CANCELLED


def test_a_task_that_ended_before_anybody_watched_is_not_waited_for(system: FakeSystem, room: WaitingRoom) -> None:
    task_id = system.add().id
    system.complete(task_id, " Early.")
    with room.watching(task_id, here) as watch:
        assert watch.result().transcript.text == " Early."


def test_a_stopping_server_answers_and_keeps_the_task(
    system: FakeSystem, room: WaitingRoom, send_and_wait: SendAndWait, next_task: Callable[[], Task]
) -> None:
    waiter = send_and_wait()
    task = next_task()
    room.close()
    assert error_of(waiter.answer) == (503, "shutting_down", None)
    assert waiter.answer.headers["Retry-After"] == "5"
    assert system.task(task.id).task.status is TaskStatus.PENDING
    with room.watching(task.id, here) as late, pytest.raises(ShuttingDownError):
        late.result()
    with pytest.raises(ShuttingDownError), room.place():
        pass
    assert system.task(task.id).task.status is TaskStatus.PENDING


def test_only_so_many_wait(system: FakeSystem, send_and_wait: SendAndWait) -> None:
    room = WaitingRoom(system, places=1)
    with room.place(), pytest.raises(TooManyWaitingError), room.place():
        pass
    with room.place():
        pass


def test_who_finds_no_place_sends_nothing(app: Application, system: FakeSystem, send_and_wait: SendAndWait) -> None:
    with ExitStack() as stack:
        for _ in range(waiting_places(system.settings.web_threads)):
            stack.enter_context(waiting_room_of(app).place())
        refused = send_and_wait().answer
    assert error_of(refused) == (429, "too_many_waiting", None)
    assert refused.headers["Retry-After"] == "5"
    assert system.tasks(TaskFilter())[0] == []


def test_segments_come_as_windows_are_finished_each_once(system: FakeSystem, room: WaitingRoom) -> None:
    """Also those before the first that was heard, those that were dropped, and those nobody told of."""
    task_id = system.add().id
    system.finish_window(task_id, " a")
    with room.watching(task_id, here) as watch:
        coming = watch.segments()
        system.finish_window(task_id, " b", " c")
        assert [segment.text for segment in next(coming)] == [" a", " b", " c"]
        window = system.finish_window(task_id, " d")
        watch.note(window)
        assert [[segment.text for segment in next(coming)] for _ in range(2)] == [[" d"], []]
        system.complete(task_id, " e")
        assert [segment.text for segments in coming for segment in segments] == [" e"]
        assert watch.result().transcript.text == " a b c d e"
    assert system.task(task_id).task.status is TaskStatus.COMPLETED


def here() -> bool:
    return False


def gone() -> bool:
    return True
