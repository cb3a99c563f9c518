"""How the live feed is thinned out, with a clock that is moved by hand."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from optimizer.tasks.events import SystemChanged, TaskChanged, TaskDeleted, TranscriptEdited, WindowFinished
from tests.web.fake_tasks import segment
from web.live.commands import Unwatch, Watch
from web.live.outbox import MAX_COMMANDS, MAX_WINDOWS, SYSTEM_INTERVAL_S, Batch, Outbox

EMPTY = Batch((), (), (), (), False)


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def outbox(time: Time) -> Outbox:
    return Outbox(time)


def next_batch(outbox: Outbox) -> Batch:
    batch = outbox.next_batch(0)
    assert batch is not None
    return batch


def window(task_id: str, seq: int) -> WindowFinished:
    return WindowFinished(task_id, seq, 0.5, 30.0, None, None, seq - 1, (segment(seq - 1, " x"),))


def test_many_changes_of_a_task_are_one(outbox: Outbox) -> None:
    for _ in range(5):
        outbox.add_event(TaskChanged("a"))
    outbox.add_event(TaskChanged("b"))
    assert next_batch(outbox).changed == ("a", "b")
    assert next_batch(outbox) == EMPTY


def test_of_many_edits_of_a_text_the_last_is_told_and_the_system_is_as_it_was(outbox: Outbox) -> None:
    for version in (1, 2):
        outbox.add_event(TranscriptEdited("a", version, "alice"))
    outbox.add_event(TranscriptEdited("gone", 1, ""))
    outbox.add_event(TaskDeleted("b"))
    assert next_batch(outbox).edited == (TranscriptEdited("a", 2, "alice"), TranscriptEdited("gone", 1, ""))
    outbox.add_event(TranscriptEdited("a", 3, ""))
    assert next_batch(outbox) == replace(EMPTY, edited=(TranscriptEdited("a", 3, ""),))
    outbox.add_event(TranscriptEdited("a", 4, ""))
    outbox.add_event(TaskDeleted("a"))
    assert next_batch(outbox).edited == ()


def test_system_is_due_once_a_second_while_it_changes(outbox: Outbox, time: Time) -> None:
    outbox.add_event(SystemChanged())
    assert next_batch(outbox).is_system_due
    outbox.add_event(SystemChanged())
    assert not next_batch(outbox).is_system_due
    time.now += SYSTEM_INTERVAL_S
    assert next_batch(outbox).is_system_due
    time.now += 10
    assert next_batch(outbox) == EMPTY


def test_windows_of_a_task_stay_in_order(outbox: Outbox) -> None:
    windows = [window("a", 1), window("b", 1), window("a", 2)]
    for finished in windows:
        outbox.add_event(finished)
    assert next_batch(outbox).windows == ((windows[0], windows[2]), (windows[1],))


def test_too_many_windows_are_dropped_from_the_front(outbox: Outbox) -> None:
    for seq in range(1, MAX_WINDOWS + 11):
        outbox.add_event(window("a", seq))
    (kept,) = next_batch(outbox).windows
    assert (len(kept), kept[0].seq) == (MAX_WINDOWS, 11)


def test_a_deleted_task_has_no_other_events(outbox: Outbox) -> None:
    outbox.add_event(TaskChanged("a"))
    outbox.add_event(window("a", 1))
    outbox.add_event(TaskDeleted("a", "alice"))
    batch = next_batch(outbox)
    assert (batch.changed, batch.windows, batch.deleted) == ((), (), (("a", "alice"),))


def test_commands_keep_their_order_and_are_bounded(outbox: Outbox) -> None:
    commands: list[Watch | Unwatch] = [Watch("s", "a", 0), Unwatch("s", "a"), Watch("s", "a", 3)]
    assert all(outbox.try_add_command(command) for command in commands)
    assert next_batch(outbox).commands == tuple(commands)
    assert sum(outbox.try_add_command(Unwatch("s", "a")) for _ in range(MAX_COMMANDS + 5)) == MAX_COMMANDS


def test_closing_wakes_the_waiting_thread() -> None:
    outbox = Outbox()
    taken: list[Batch | None] = []
    thread = threading.Thread(target=lambda: taken.append(outbox.next_batch(60)))
    thread.start()
    outbox.close()
    thread.join(10)
    assert taken == [None]
