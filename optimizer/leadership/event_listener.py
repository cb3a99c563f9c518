"""A web process hears what happens at the leader, through PostgreSQL's LISTEN.

A connection may be dead without a sign, such as one that a firewall has forgotten, or lead to a server that answers and
is told nothing any more, such as a former primary. So a listener that hears not even the leader's ticks for
DEAF_AFTER_S connects anew.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import psycopg

from optimizer.common.clock import Clock, SystemClock
from optimizer.leadership.event_text import CHANNEL, TICK_EVERY_S, Tick, Told, from_text
from optimizer.tasks.events import Event, EventsMissed, Listener

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
START_LIMIT_S = 10.0
DEAF_AFTER_S = 5 * TICK_EVERY_S
RETRY_S = 1.0
STOP_LIMIT_S = 10.0


class SilentError(Exception):
    """Nothing was heard for DEAF_AFTER_S."""


class EventListener:
    """Passes events on in the order in which they were told, on a thread of its own, and EventsMissed in the place of
    those that did not come, such as before a number that does not follow the last one."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        pass_on: Listener,
        kept_event: Callable[[str, int], Event | None],
        *,
        clock: Clock | None = None,
    ) -> None:
        """connect: a new connection that commits at once. Raises psycopg.Error. kept_event: asks the leader for one
        that was too large."""
        self._connect = connect
        self._pass_on = pass_on
        self._kept_event = kept_event
        self._clock = clock or SystemClock()
        self._last: tuple[str, int] | None = None  # origin and number of what came last
        self._is_silent = False  # since the connection before, which heard nothing any more
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
        is_known_deaf = False
        while not self._is_stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    is_known_deaf = False
                    self._begin_to_hear()
                    self._listen(connection)
            except SilentError:
                self._on_silence()
            except psycopg.Error as error:
                if not is_known_deaf:
                    log.warning("event=events_not_heard reason=%s", type(error).__name__)
                is_known_deaf = True
            except Exception:
                log.exception("event=listener_failed")
            self._is_stopping.wait(RETRY_S)

    def _begin_to_hear(self) -> None:
        self._last = None
        if not self._is_silent and (self._hears.is_set() or self._is_late.is_set()):
            self._pass_on(EventsMissed())
        self._hears.set()

    def _on_silence(self) -> None:
        """Told once, however often it connects until it hears again. There may be no leader that could be heard, and
        then nobody could answer whoever reads everything again, so they are told to when it hears."""
        if not self._is_silent:
            log.warning("event=events_silent: nothing was heard for %.0f s; connecting anew", DEAF_AFTER_S)
        self._is_silent = True

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        """Raises SilentError."""
        heard_at = self._clock.monotonic()
        while not self._is_stopping.is_set():
            for notification in connection.notifies(timeout=LOOK_EVERY_S):
                self._on_told(from_text(notification.payload))
                if self._is_stopping.is_set():
                    return
                heard_at = self._clock.monotonic()
            if self._clock.monotonic() - heard_at >= DEAF_AFTER_S:
                raise SilentError()

    def _on_told(self, told: Told) -> None:
        last, self._last = self._last, (told.origin, told.number)
        is_gap = last is not None and self._last != (last[0], last[1] + 1)
        if self._is_silent:
            log.info("event=events_heard_again")
        if is_gap or self._is_silent:
            self._pass_on(EventsMissed())
        self._is_silent = False
        if isinstance(told.event, Tick):
            return
        event = self._kept_event(told.origin, told.number) if told.event is None else told.event
        self._pass_on(EventsMissed() if event is None else event)
