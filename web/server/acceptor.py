"""Accepts connections, also when the process has no descriptor left for them."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from web.server.refusals import BUSY

log = logging.getLogger(__name__)

ACCEPT_AT_ONCE = 64
PAUSE_S = 0.1  # when a client can neither be accepted nor turned away
LOG_EVERY_S = 10.0
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Add = Callable[[socket.socket, Any, Any], None]  # the accepted socket, its peer's address, its own


class Acceptor:
    """Keeps one descriptor in reserve: with it, a client for whom there is none can be accepted and told so."""

    def __init__(
        self, listeners: Iterable[Any], poller: selectors.BaseSelector, add: Add, make_room: Callable[[], bool]
    ) -> None:
        """listeners: gunicorn's. make_room: closes a waiting connection; False when there is none."""
        self._listeners = list(listeners)
        self._poller = poller
        self._add = add
        self._make_room = make_room
        self._reserve: int | None = _open_reserve()
        self._next_log = 0.0
        self._paused_until: float | None = None
        for listener in self._listeners:
            listener.setblocking(False)
        self._register()

    def go_on(self, now: float) -> None:
        """After a pause. now: monotonic."""
        if self._paused_until is not None and now >= self._paused_until:
            self._paused_until = None
            self._register()

    def _register(self) -> None:
        for listener in self._listeners:
            self._poller.register(listener, selectors.EVENT_READ, partial(self._accept, listener))

    def _pause(self) -> None:
        """The listeners stay readable, so that the front would do nothing else than try."""
        self._paused_until = time.monotonic() + PAUSE_S
        for listener in self._listeners:
            self._poller.unregister(listener)

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._release_reserve()

    def _accept(self, listener: Any) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                accepted, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                self._log(error)
                if not self._make_room():
                    self._turn_away(listener)
                return
            self._add(accepted, peer, listener.getsockname())

    def _turn_away(self, listener: Any) -> None:
        """Answers the next client with 503 and closes its connection."""
        self._release_reserve()
        try:
            accepted, _ = listener.accept()
            with accepted:
                accepted.setblocking(False)
                accepted.send(BUSY.encode())
        except OSError:
            self._pause()  # the client has gone, or another thread has taken the descriptor
        finally:
            self._reserve = _open_reserve()

    def _release_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _log(self, error: OSError) -> None:
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + LOG_EVERY_S
            log.error("event=connection_refused reason=%r", error.strerror)


def _open_reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
