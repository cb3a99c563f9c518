"""Events on their way from the leader to the web processes, through a real PostgreSQL."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from optimizer.leadership import event_publisher
from optimizer.leadership.event_listener import EventListener
from optimizer.leadership.event_publisher import EventPublisher
from optimizer.leadership.event_text import MAX_BYTES, Told, from_text, to_text
from optimizer.tasks.events import (
    Event,
    EventsMissed,
    SystemChanged,
    TaskChanged,
    TaskDeleted,
    TranscriptEdited,
    WindowFinished,
)
from tests.postgresql_server import PostgresqlServer
from whisper_core.text.transcript import Segment, Word

LIMIT_S = 30


def window(seq: int, words: int = 3, text: str = "Größe 名") -> WindowFinished:
    said = tuple(Word(f" w{number}", number, number + 0.5, 0.25, "S1") for number in range(words))
    segment = Segment(seq, 0, 0.0, 2.5, text, (1, 2), 0.0, -0.125, 1.5, 0.0625, said, "S1")
    return WindowFinished("task", seq, 0.5, 30.0, None, 1.25, seq, (segment,))


EVENTS: list[Event] = [
    TaskChanged("a"), TaskDeleted("b", "me"), window(0), window(1, words=0), TranscriptEdited("a", 3, "me"),
    SystemChanged(), EventsMissed(),
]  # fmt: skip


@pytest.fixture
def database(postgresql: PostgresqlServer) -> Iterator[str]:
    name = postgresql.database()
    yield name
    postgresql.give_back(name)


class Line:
    """From publishers to one listener."""

    def __init__(self, server: PostgresqlServer, database: str) -> None:
        self._server, self._database = server, database
        self._heard: queue.Queue[Event] = queue.Queue()
        self.publishers: list[EventPublisher] = []
        self.listener = EventListener(self.connect, self._heard.put, self._kept)

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._server.url(self._database), autocommit=True)

    def publisher(self) -> EventPublisher:
        publisher = EventPublisher(self.connect)
        self.publishers.append(publisher)
        publisher.start()
        return publisher

    def _kept(self, origin: str, number: int) -> Event | None:
        found = [publisher.kept(origin, number) for publisher in self.publishers]
        return next((event for event in found if event is not None), None)

    def hear(self) -> Event:
        return self._heard.get(timeout=LIMIT_S)

    def hear_until(self, last: Event) -> list[Event]:
        heard = [self.hear()]
        while heard[-1] != last:
            heard.append(self.hear())
        return heard

    def cut(self) -> None:
        """Every connection to the database."""
        self._server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", self._database
        )


@pytest.fixture
def line(postgresql: PostgresqlServer, database: str) -> Iterator[Line]:
    line = Line(postgresql, database)
    line.listener.start()
    yield line
    line.listener.stop()
    for publisher in line.publishers:
        publisher.stop()


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_the_same_after_its_way_as_text(event: Event) -> None:
    told = Told("origin", 7, event)
    assert from_text(to_text(told)) == told
    assert to_text(told).isascii()


def test_events_come_in_their_order_whatever_their_size(line: Line) -> None:
    publisher = line.publisher()
    assert line.hear() == EventsMissed()  # a new leader
    sent: list[Event] = [window(seq, words=400 if seq % 10 == 0 else 2) for seq in range(60)]
    assert len(to_text(Told("origin", 1, sent[0]))) > MAX_BYTES
    for event in sent:
        publisher.add(event)
    assert [line.hear() for _ in sent] == sent


def test_a_burst_of_large_events_comes_whole(line: Line) -> None:
    """Those of several transactions are kept until they are asked for."""
    publisher = EventPublisher(line.connect)
    line.publishers.append(publisher)
    sent: list[Event] = [window(seq, words=400) for seq in range(2 * event_publisher.MAX_AT_ONCE)]
    for event in sent:
        publisher.add(event)
    publisher.start()
    assert line.hear() == EventsMissed()
    assert [line.hear() for _ in sent] == sent


def test_every_kind_of_event_comes(line: Line) -> None:
    publisher = line.publisher()
    for event in EVENTS:
        publisher.add(event)
    assert [line.hear() for _ in range(1 + len(EVENTS))] == [EventsMissed(), *EVENTS]


def test_a_lost_connection_is_made_good_and_what_was_missed_is_told_of(line: Line) -> None:
    publisher = line.publisher()
    publisher.add(TaskChanged("before"))
    line.hear_until(TaskChanged("before"))
    line.cut()
    last = TaskDeleted("after")
    publisher.add(last)
    heard = line.hear_until(EventsMissed())
    assert set(heard) <= {last, EventsMissed()}
    publisher.add(TaskDeleted("later"))
    line.hear_until(TaskDeleted("later"))


def test_another_leaders_events_begin_with_what_was_missed(line: Line) -> None:
    first = line.publisher()
    first.add(TaskChanged("a"))
    line.hear_until(TaskChanged("a"))
    first.stop()
    second = line.publisher()
    second.add(TaskChanged("b"))
    assert line.hear_until(TaskChanged("b")).count(EventsMissed()) >= 1


def test_an_event_that_is_kept_no_more_counts_as_missed(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_publisher, "MAX_KEPT", 0)
    publisher = line.publisher()
    line.hear()
    publisher.add(window(1, words=400))
    publisher.add(TaskChanged("a"))
    assert line.hear_until(TaskChanged("a")) == [EventsMissed(), TaskChanged("a")]


@contextmanager
def without_database() -> Iterator[EventPublisher]:
    def refuse() -> psycopg.Connection[Any]:
        raise psycopg.OperationalError("nobody is there")

    publisher = EventPublisher(refuse)
    publisher.start()
    yield publisher
    publisher.stop()


def test_nobody_waits_for_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_publisher, "MAX_WAITING", 100)
    with without_database() as publisher:
        for number in range(1050):
            publisher.add(TaskDeleted(str(number)))
        assert len(publisher._waiting) <= 100
        assert EventsMissed() in publisher._waiting


def test_a_change_that_waits_already_is_told_once() -> None:
    with without_database() as publisher:
        for _ in range(100):
            publisher.add(TaskChanged("a"))
            publisher.add(SystemChanged())
        assert list(publisher._waiting) == [TaskChanged("a"), SystemChanged()]


def test_a_listener_that_began_late_says_that_it_may_have_missed_something(
    postgresql: PostgresqlServer, database: str
) -> None:
    is_there = threading.Event()
    heard: queue.Queue[Event] = queue.Queue()

    def connect() -> psycopg.Connection[Any]:
        if not is_there.is_set():
            raise psycopg.OperationalError("not yet")
        return psycopg.connect(postgresql.url(database), autocommit=True)

    listener = EventListener(connect, heard.put, lambda *_: None)
    listener._is_late.set()
    listener._thread.start()
    is_there.set()
    assert heard.get(timeout=LIMIT_S) == EventsMissed()
    listener.stop()
