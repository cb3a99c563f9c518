"""The leader tells the web processes what happens, through PostgreSQL's NOTIFY.

Nothing waits for it: events are put into a queue, and a thread with a connection of its own sends them. What does not
fit into the queue, or was lost with a connection, is told of as EventsMissed. While nothing happens a tick is sent
every TICK_EVERY_S, numbered as the events are: by it a listener knows that it hears, and that the last event came.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from optimizer.leadership.event_text import CHANNEL, MAX_BYTES, TICK_EVERY_S, Tick, Told, to_text
from optimizer.tasks.events import Event, EventsMissed, SystemChanged, TaskChanged

log = logging.getLogger(__name__)

MAX_WAITING = 10_000
MAX_AT_ONCE = 100  # in a transaction
MAX_KEPT = 1000  # events that are too large for a notification; of several transactions, until somebody asks
RETRY_S = 1.0
STOP_LIMIT_S = 2.0
_NOTIFY = "SELECT pg_notify(%s, text) FROM unnest(%s::text[]) WITH ORDINALITY AS told (text, place) ORDER BY place"


class EventPublisher:
    """`add` and `kept` from any thread."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        """connect: a new connection that commits at once. Raises psycopg.Error."""
        self._connect = connect
        self._origin = uuid.uuid4().hex
        self._number = 0
        self._filled = threading.Condition()  # of what follows
        self._waiting: deque[Event] = deque()
        self._changes: set[Event] = set()  # of those that wait
        self._kept: OrderedDict[int, Event] = OrderedDict()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="event-publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sends what is there, if the database can be reached. Harmless when it was not started."""
        with self._filled:
            self._is_stopping = True
            self._filled.notify()
        if self._thread.is_alive():
            self._thread.join(STOP_LIMIT_S)

    def add(self, event: Event) -> None:
        """Never waits. A change that waits already is told once: whoever hears of it reads what is then."""
        with self._filled:
            if event in self._changes:
                return
            if len(self._waiting) >= MAX_WAITING:
                self._forget()
                event = EventsMissed()
            if isinstance(event, SystemChanged | TaskChanged):
                self._changes.add(event)
            self._waiting.append(event)
            self._filled.notify()

    def kept(self, origin: str, number: int) -> Event | None:
        """The event of this number that was too large to be told; None when later ones took its place, or when it was
        of an earlier leader."""
        with self._filled:
            return self._kept.get(number) if origin == self._origin else None

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                with self._connect() as connection:
                    self._send(connection, [EventsMissed()])  # by an earlier leader, or with the last connection
                    self._send_all(connection)
            except psycopg.Error as error:
                log.warning("event=events_not_told reason=%s", type(error).__name__)
            except Exception:
                log.exception("event=publisher_failed")
            with self._filled:
                if not self._is_stopping:
                    self._filled.wait_for(lambda: self._is_stopping, RETRY_S)

    def _send_all(self, connection: psycopg.Connection[Any]) -> None:
        while events := self._next():
            self._send(connection, events)

    def _next(self) -> list[Event] | list[Tick]:
        """Nothing once it stops and all is sent."""
        with self._filled:
            if not self._filled.wait_for(lambda: self._waiting or self._is_stopping, TICK_EVERY_S):
                return [Tick()]
            events = [self._waiting.popleft() for _ in range(min(MAX_AT_ONCE, len(self._waiting)))]
            self._changes.difference_update(events)
            return events

    def _send(self, connection: psycopg.Connection[Any], events: Sequence[Event | Tick]) -> None:
        connection.execute(_NOTIFY, [CHANNEL, [self._text(event) for event in events]])

    def _text(self, event: Event | Tick) -> str:
        self._number += 1
        text = to_text(Told(self._origin, self._number, event))
        if isinstance(event, Tick) or len(text) <= MAX_BYTES:
            return text
        with self._filled:
            self._kept[self._number] = event
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return to_text(Told(self._origin, self._number, None))

    def _forget(self) -> None:
        self._waiting.clear()
        self._changes.clear()
