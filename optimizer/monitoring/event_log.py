"""What the system decided and changed, and why, so that "why did this run before that?" can be answered later.

Nobody who decides something may wait for a disk, so `add` only keeps the event in memory; the monitor's thread writes
it at its next tick. A killed server loses the events of the last PERFORMANCE_MONITOR_INTERVAL, which are only read.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, select

from optimizer.common.clock import Clock
from optimizer.storage.database import Database
from optimizer.storage.mapping import Row
from optimizer.storage.schema import system_events

log = logging.getLogger(__name__)

EventKind = Literal["decision", "tuning", "memory", "model", "device", "audit"]  # the last: see `audit`

MAX_UNWRITTEN = 10_000  # while the disk is full; beyond that the oldest events are lost
MAX_KEPT = 20_000  # of each kind, so that many decisions do not push out the few changes
KEPT_FOR = timedelta(days=7)


@dataclass(frozen=True)
class SystemEvent:
    id: int  # grows with every event, also over restarts
    at: float  # seconds since 1970
    kind: EventKind
    text: str
    data: dict[str, Any] = field(default_factory=dict)  # the figures that `text` mentions, and more


class EventLog:
    """`open` before the first `flush`. `add` and `events` on any thread, `flush` on one at a time."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._unwritten: deque[SystemEvent] = deque(maxlen=MAX_UNWRITTEN)
        self._last_id = 0

    def open(self) -> None:
        """Continues the numbers of an earlier run. Raises StoreBusyError, DatabaseDamagedError."""
        with self._database.reading() as connection:
            written = connection.scalar(select(func.max(system_events.c.id))) or 0
        with self._lock:
            self._last_id += written
            renumbered = [replace(event, id=event.id + written) for event in self._unwritten]
            self._unwritten = deque(renumbered, maxlen=MAX_UNWRITTEN)

    def add(self, kind: EventKind, text: str, **data: Any) -> None:
        """Keeps one event in memory. Never blocks, never raises."""
        at = self._clock.now().timestamp()
        with self._lock:
            self._last_id += 1
            self._unwritten.append(SystemEvent(self._last_id, at, kind, text, data))

    def events(
        self, kind: EventKind | None = None, limit: int = 100, before: int | None = None, since: float | None = None
    ) -> list[SystemEvent]:
        """The newest ones, newest first. before: only those with a smaller id. since: seconds since 1970.

        Raises StoreBusyError, DatabaseDamagedError.
        """
        with self._lock:
            unwritten = list(self._unwritten)
        # Memory first: what a flush moves in between is then found twice rather than missed.
        found = {event.id: event for event in self._written(kind, limit, before, since)}
        for event in unwritten:
            is_wanted = kind in (None, event.kind) and (since is None or event.at >= since)
            if is_wanted and (before is None or event.id < before):
                found[event.id] = event
        return sorted(found.values(), key=lambda event: -event.id)[:limit]

    def flush(self) -> None:
        """Writes the new events and removes those that are too old, in one transaction.

        Raises StoreBusyError, DiskFullError, DatabaseDamagedError; the events then stay for the next time.
        """
        with self._lock:
            unwritten = list(self._unwritten)
        if not unwritten:
            return
        with self._database.writing() as connection:
            connection.execute(insert(system_events), [_row(event) for event in unwritten])
            self._remove_old(connection, {event.kind for event in unwritten})
        with self._lock:
            while self._unwritten and self._unwritten[0].id <= unwritten[-1].id:
                self._unwritten.popleft()

    def _remove_old(self, connection: Connection, kinds: Iterable[EventKind]) -> None:
        oldest = (self._clock.now() - KEPT_FOR).timestamp()
        connection.execute(delete(system_events).where(system_events.c.at < oldest))
        for kind in kinds:
            is_its = system_events.c.kind == kind
            newest_first = select(system_events.c.id).where(is_its).order_by(system_events.c.id.desc())
            first_gone = connection.scalar(newest_first.offset(MAX_KEPT).limit(1))
            if first_gone is not None:
                connection.execute(delete(system_events).where(is_its, system_events.c.id <= first_gone))

    def _written(
        self, kind: EventKind | None, limit: int, before: int | None, since: float | None
    ) -> Iterator[SystemEvent]:
        query = select(system_events).order_by(system_events.c.id.desc()).limit(limit)
        if kind is not None:
            query = query.where(system_events.c.kind == kind)
        if before is not None:
            query = query.where(system_events.c.id < before)
        if since is not None:
            query = query.where(system_events.c.at >= since)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            event = _event(row)
            if event is not None:
                yield event


def _row(event: SystemEvent) -> dict[str, Any]:
    document = json.dumps({"text": event.text, "data": event.data}, ensure_ascii=False, default=str)
    return {"id": event.id, "at": event.at, "kind": event.kind, "data": document}


def _event(row: Row) -> SystemEvent | None:
    """None for a row that cannot be read; the others are not affected."""
    try:
        document = json.loads(row.data)
        return SystemEvent(row.id, row.at, row.kind, document["text"], dict(document["data"]))
    except (ValueError, TypeError, KeyError):
        log.warning("event=unreadable_system_event id=%s", row.id)
        return None
