"""Events on their way from the leader to the web processes, through a real PostgreSQL."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from optimizer.leadership import event_listener, event_publisher
from optimizer.leadership.event_listener import EventListener
from optimizer.leadership.event_publisher import EventPublisher
from optimizer.leadership.event_text import CHANNEL, MAX_BYTES, Tick, Told, from_text, to_text
from optimizer.storage import postgresql_silence
from optimizer.storage.postgresql import connect_beside
from optimizer.tasks.events import (
    Event,
    EventsMissed,
    SystemChanged,
    TaskChanged,
    TaskDeleted,
    TranscriptEdited,
    WindowFinished,
)
from tests.optimizer.fakes import FakeClock
from tests.optimizer.leadership.leaders import wait_until
from tests.postgresql_server import PostgresqlServer
from tests.tcp_proxy import TcpProxy, tcp_proxy
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


@pytest.mark.parametrize("event", [*EVENTS, Tick()], ids=lambda event: type(event).__name__)
def test_an_event_is_the_same_after_its_way_as_text(event: Event | Tick) -> None:
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


# Signs of life


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done every few seconds is done at once."""
    monkeypatch.setattr(event_publisher, "TICK_EVERY_S", 0.01)
    monkeypatch.setattr(event_listener, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(event_listener, "RETRY_S", 0.01)


class Wire:
    """One listener, whose connections a test makes; its time is the test's."""

    def __init__(self, connect: Callable[[int], psycopg.Connection[Any]]) -> None:
        """connect: given how many connections there were before."""
        self.num_connections = 0
        self.clock = FakeClock()
        self._make = connect
        self._heard: queue.Queue[Event] = queue.Queue()
        self.listener = EventListener(self._connect, self._heard.put, lambda *_: None, clock=self.clock)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self._make(self.num_connections)
        self.num_connections += 1
        return connection

    def hear(self) -> Event:
        return self._heard.get(timeout=LIMIT_S)

    def hears_nothing(self) -> bool:
        return self._heard.empty()

    def hear_until(self, last: Event) -> set[Event]:
        """What came before it."""
        heard = [self.hear()]
        while heard[-1] != last:
            heard.append(self.hear())
        return set(heard[:-1])

    def wait_for_ticks(self) -> None:
        """For two, so the first one was heard at the clock's present time."""
        wait_until(lambda: self.last_number > 0)
        first = self.last_number
        wait_until(lambda: self.last_number > first)

    @property
    def last_number(self) -> int:
        last = self.listener._last
        return 0 if last is None else last[1]

    def be_silent_until(self, num_connections: int) -> None:
        while self.num_connections < num_connections:
            self.clock.advance(event_listener.DEAF_AFTER_S)
            threading.Event().wait(0.005)


@contextmanager
def listening(connect: Callable[[int], psycopg.Connection[Any]]) -> Iterator[Wire]:
    wire = Wire(connect)
    wire.listener.start()
    try:
        yield wire
    finally:
        wire.listener.stop()


@contextmanager
def publishing(url: str) -> Iterator[EventPublisher]:
    publisher = EventPublisher(lambda: psycopg.connect(url, autocommit=True))
    publisher.start()
    yield publisher
    publisher.stop()


@pytest.fixture
def proxy(postgresql: PostgresqlServer) -> Iterator[TcpProxy]:
    with tcp_proxy(postgresql.port) as proxy:
        yield proxy


@pytest.mark.parametrize("how", ["swallowed", "a former primary"])
def test_a_listener_that_hears_nothing_any_more_connects_again_and_has_everything_read_again(
    postgresql: PostgresqlServer, database: str, proxy: TcpProxy, often: None, how: str
) -> None:
    """Whether its connection is dead without a sign, or its server answers and is told nothing."""
    url = postgresql.url(database)
    first = url.replace(f":{postgresql.port}/", f":{proxy.port}/") if how == "swallowed" else postgresql.url()

    def connect(before: int) -> psycopg.Connection[Any]:
        return psycopg.connect(url if before else first, autocommit=True)

    with listening(connect) as wire, publishing(url) as publisher:
        wait_until(lambda: publisher._number >= 2)  # its first word is behind it
        if how == "swallowed":
            wire.wait_for_ticks()
            assert wire.hear() == EventsMissed()  # a new leader
            proxy.swallow_present()
        wire.be_silent_until(num_connections=2)
        wire.wait_for_ticks()
        publisher.add(TaskChanged("a"))
        assert wire.hear_until(TaskChanged("a")) == {EventsMissed()}


def test_a_publisher_whose_connection_has_fallen_silent_connects_anew(
    postgresql: PostgresqlServer, database: str, proxy: TcpProxy, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_silence, "SILENT_S", 0.1)
    url = postgresql.url(database)
    through_proxy = make_url(url.replace(f":{postgresql.port}/", f":{proxy.port}/"))
    publisher = EventPublisher(lambda: connect_beside(through_proxy))
    with listening(lambda _: psycopg.connect(url, autocommit=True)) as wire:
        publisher.start()
        assert wire.hear() == EventsMissed()
        proxy.swallow_present()
        assert wire.hear() == EventsMissed()
        publisher.add(TaskChanged("a"))
        assert wire.hear_until(TaskChanged("a")) <= {EventsMissed()}
        publisher.stop()


def test_ticks_keep_a_listener_on_its_connection_and_nobody_is_told_of_them(
    postgresql: PostgresqlServer, database: str, often: None
) -> None:
    url = postgresql.url(database)
    with listening(lambda _: psycopg.connect(url, autocommit=True)) as wire, publishing(url):
        assert wire.hear() == EventsMissed()  # a new leader
        for _ in range(5):
            wire.wait_for_ticks()
            wire.clock.advance(0.9 * event_listener.DEAF_AFTER_S)
        wire.wait_for_ticks()
        assert (wire.num_connections, wire.hears_nothing()) == (1, True)


def test_without_a_leader_a_listener_says_once_that_it_hears_nothing(
    postgresql: PostgresqlServer, database: str, often: None, caplog: pytest.LogCaptureFixture
) -> None:
    """And nobody reads everything again meanwhile, which no leader could answer."""
    url = postgresql.url(database)
    with listening(lambda _: psycopg.connect(url, autocommit=True)) as wire:
        wire.be_silent_until(num_connections=5)
        assert wire.hears_nothing()
        assert [record.message[:19] for record in caplog.records] == ["event=events_silent"]
        with publishing(url) as publisher:
            wire.wait_for_ticks()
            publisher.add(TaskChanged("a"))
            assert wire.hear_until(TaskChanged("a")) == {EventsMissed()}


def test_a_tick_tells_that_the_last_event_did_not_come(
    postgresql: PostgresqlServer, database: str, often: None
) -> None:
    def tell(number: int) -> None:
        postgresql.execute("SELECT pg_notify(%s, %s)", CHANNEL, to_text(Told("o", number, Tick())), database=database)

    with listening(lambda _: psycopg.connect(postgresql.url(database), autocommit=True)) as wire:
        tell(1)
        tell(2)
        wait_until(lambda: wire.last_number == 2)
        assert wire.hears_nothing()
        tell(4)
        assert wire.hear() == EventsMissed()
