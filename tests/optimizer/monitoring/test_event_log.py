"""The event log on a real database: an event can be read at once, is written later, and never holds anybody up."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from errors import DiskFullError
from optimizer.common import failpoints
from optimizer.monitoring import event_log as event_log
from optimizer.monitoring.event_log import EventLog
from optimizer.storage.schema import system_events
from optimizer.storage.store import TaskStore
from tests.optimizer.fakes import FakeClock

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py


@pytest.fixture
def open_event_log(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[], EventLog]]:
    """Each call is a start of the server on the same database."""
    stores: list[TaskStore] = []

    def opened() -> EventLog:
        for store in stores:
            store.close()
        store = TaskStore(tmp_path)
        store.open()
        stores.append(store)
        made = EventLog(store.database, clock)
        made.open()
        return made

    yield opened
    for store in stores:
        store.close()


def full_disk() -> None:
    raise DiskFullError()


def texts(found: list[event_log.SystemEvent]) -> list[str]:
    return [event.text for event in found]


def test_an_event_can_be_read_before_and_after_it_is_written_down(
    open_event_log: Callable[[], EventLog], clock: FakeClock
) -> None:
    notes = open_event_log()
    notes.add("decision", "A began.", task_id="A", waited_seconds=1.5)
    before = notes.events()
    notes.flush()
    assert notes.events() == before
    (event,) = before
    assert (event.kind, event.text, event.data) == ("decision", "A began.", {"task_id": "A", "waited_seconds": 1.5})
    assert event.at == clock.now().timestamp()


def test_what_was_noted_before_the_database_was_there_is_not_lost(open_event_log: Callable[[], EventLog]) -> None:
    first = open_event_log()
    for number in range(3):
        first.add("model", str(number))
    first.flush()
    second = open_event_log()
    second._unwritten.clear()
    third = EventLog(second._database, FakeClock())
    third.add("device", "early")
    third.open()
    third.add("device", "late")
    third.flush()
    assert texts(third.events()) == ["late", "early", "2", "1", "0"]
    assert [event.id for event in third.events()] == [5, 4, 3, 2, 1]


def test_pages_go_back_by_id_through_memory_and_database_alike(open_event_log: Callable[[], EventLog]) -> None:
    notes = open_event_log()
    for number in range(5):
        notes.add("decision" if number % 2 else "memory", str(number))
    notes.flush()
    for number in range(5, 9):
        notes.add("decision" if number % 2 else "memory", str(number))
    first = notes.events(limit=6)
    assert texts(first) == ["8", "7", "6", "5", "4", "3"]
    assert texts(notes.events(limit=6, before=first[-1].id)) == ["2", "1", "0"]
    assert texts(notes.events("decision")) == ["7", "5", "3", "1"]
    assert notes.events(before=1) == []


def test_since_leaves_out_what_is_older(open_event_log: Callable[[], EventLog], clock: FakeClock) -> None:
    notes = open_event_log()
    notes.add("tuning", "old")
    notes.flush()
    clock.advance(100)
    notes.add("tuning", "new")
    assert texts(notes.events(since=clock.now().timestamp() - 50)) == ["new"]


def test_old_events_go_after_a_week_and_beyond_the_number_that_is_kept(
    open_event_log: Callable[[], EventLog], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "MAX_KEPT", 3)
    notes = open_event_log()
    notes.add("device", "a week old")
    notes.flush()
    clock.advance(8 * 86400)
    for number in range(2):
        notes.add("device", str(number))
    notes.flush()
    assert texts(notes.events()) == ["1", "0"]
    notes.add("tuning", "one of few")
    for number in range(2, 7):
        notes.add("device", str(number))
    notes.flush()
    assert texts(notes.events()) == ["6", "5", "4", "one of few"]


def test_a_database_that_takes_nothing_costs_only_the_oldest_notes(
    open_event_log: Callable[[], EventLog],
) -> None:
    notes = open_event_log()
    notes._unwritten = deque(maxlen=4)
    for number in range(6):
        notes.add("decision", str(number))
    failpoints.arm({"store.before_commit": full_disk})
    with pytest.raises(DiskFullError):
        notes.flush()
    assert texts(notes.events()) == ["5", "4", "3", "2"]
    failpoints.disarm()
    notes.flush()
    assert texts(notes.events()) == ["5", "4", "3", "2"]


def test_notes_taken_while_others_are_written_down_are_all_there_once(open_event_log: Callable[[], EventLog]) -> None:
    notes = open_event_log()
    barrier = threading.Barrier(4)

    def take_notes(name: int) -> None:
        barrier.wait()
        for number in range(50):
            notes.add("decision", f"{name}-{number}")

    threads = [threading.Thread(target=take_notes, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    barrier.wait()
    for _ in range(20):
        notes.flush()
    for thread in threads:
        thread.join()
    notes.flush()
    found = texts(notes.events(limit=500))
    assert sorted(found) == sorted(f"{name}-{number}" for name in range(3) for number in range(50))


def test_a_damaged_row_costs_itself_only(open_event_log: Callable[[], EventLog]) -> None:
    notes = open_event_log()
    notes.add("decision", "good")
    notes.flush()
    damaged: list[Any] = ["not json", "[]", '{"text": "no data"}']
    with notes._database.writing() as connection:
        for number, text in enumerate(damaged, start=2):
            connection.execute(system_events.insert().values(id=number, at=0.0, kind="decision", data=text))
    assert texts(notes.events()) == ["good"]
