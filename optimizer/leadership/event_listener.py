"""A web process hears what happens at the leader, through PostgreSQL's LISTEN."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import psycopg

from optimizer.leadership.event_text import CHANNEL, Told, from_text
from optimizer.tasks.events import Event, EventsMissed, Listener

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
START_LIMIT_S = 10.0
RETRY_S = 1.0
STOP_LIMIT_S = 10.0


class EventListener:
    """Passes events on in the order in which they were told, on a thread of its own, and EventsMissed in the place of
    those that did not come."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        pass_on: Listener,
        kept_event: Callable[[str, int], Event | None],
    ) -> None:
        """connect: a new connection that commits at once. Raises psycopg.Error. kept_event: asks the leader for one
        that was too large."""
        self._connect = connect
        self._pass_on = pass_on
        self._kept_event = kept_event
        self._last: tuple[str, int] | None = None  # origin and number of what came last
        self._hears = threading.Event()
        self._is_late = threading.Event()  # somebody may have come before it heard
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-listener", daemon=True)

    def start(self) -> None:
        """Waits a while until it hears, so that who comes after it misses nothing."""
        self._thread.start()
        if not self._hears.wait(START_LIMIT_S):
            self._is_late.set()

    def stop(self) -> None:
        """Nothing is passed on any more. Harmless when it was not started, or when it is repeated."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_LIMIT_S)

    def _run(self) -> None:
        has_heard, is_known_deaf = False, False
        while not self._is_stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._last = None
                    if has_heard or self._is_late.is_set():
                        self._pass_on(EventsMissed())
                    has_heard, is_known_deaf = True, False
                    self._hears.set()
                    self._listen(connection)
            except psycopg.Error as error:
                if not is_known_deaf:
                    log.warning("event=events_not_heard reason=%s", type(error).__name__)
                is_known_deaf = True
            except Exception:
                log.exception("event=listener_failed")
            self._is_stopping.wait(RETRY_S)

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        while not self._is_stopping.is_set():
            for notification in connection.notifies(timeout=LOOK_EVERY_S):
                self._on_told(from_text(notification.payload))
                if self._is_stopping.is_set():
                    return

    def _on_told(self, told: Told) -> None:
        last, self._last = self._last, (told.origin, told.number)
        if last is not None and self._last != (last[0], last[1] + 1):
            self._pass_on(EventsMissed())
        event = self._kept_event(told.origin, told.number) if told.event is None else told.event
        self._pass_on(EventsMissed() if event is None else event)
