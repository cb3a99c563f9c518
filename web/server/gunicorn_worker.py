"""gunicorn's thread worker, changed so that it ends quickly and cleanly while WebSockets are open.

Written against gunicorn 27.0 (`gunicorn/workers/gthread.py`). Each method says what it changes and why.
"""

from __future__ import annotations

import errno
import logging
import signal
import threading
import time
from concurrent.futures import Future
from types import FrameType
from typing import Any

from gunicorn.workers.gthread import _DEFER, TConn, ThreadWorker

log = logging.getLogger(__name__)

IDLE_TIMEOUT_S = 30.0  # a client that neither sends nor receives a byte for this long is disconnected
FIRST_BYTE_TIMEOUT_S = 0.5
LINGER_S = 0.5  # how long a stopping worker keeps unused connections open
OUT_OF_FILES_PAUSE_S = 0.1


class LiveThreadWorker(ThreadWorker):  # type: ignore[misc]
    """The gunicorn application (`self.app`) must have `close_live_connections()`."""

    alive: bool

    def init_signals(self) -> None:
        """Leaves Ctrl-C and a closed terminal to the master: both signals reach the whole process group."""
        super().init_signals()
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stops gently at the first signal (no new connections; requests in progress may end), at once at the second.

        Live connections are closed, because an open WebSocket would delay the end for the whole graceful time-out.
        """
        is_first = bool(self.alive)
        self.alive = False
        if is_first:
            threading.Thread(target=self.app.close_live_connections, name="close-connections", daemon=True).start()
        else:
            self.nr_conns = 0
        self.method_queue.defer(_nothing)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """As handle_exit. Upstream would end the process without stopping the system."""
        self.handle_exit(sig, frame)

    def handle(self, conn: TConn) -> Any:
        """Returns a new connection to the poller soon when it sends nothing. Browsers open some in advance, and each
        would occupy a thread for five seconds and delay a stopping worker."""
        is_new = not conn.initialized and not conn.data_ready
        if is_new and not conn.wait_for_data(FIRST_BYTE_TIMEOUT_S):
            return _DEFER
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Adds a time-out to each wait for the client, so that a stalled upload does not occupy its thread for ever."""
        conn.sock.settimeout(IDLE_TIMEOUT_S)
        return super().handle_request(req, conn)

    def accept(self, listener: Any) -> None:
        """Survives a lack of file descriptors, which would end upstream's loop."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            log.error("event=connection_refused reason=%r", error.strerror)
            time.sleep(OUT_OF_FILES_PAUSE_S)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Counts a closed connection once. Upstream subtracts twice when a WebSocket has closed its own connection."""
        before = self.nr_conns
        super().finish_request(conn, fs)
        self.nr_conns = max(self.nr_conns, before - 1)

    def _cap_keepalive(self, deadline: float) -> None:
        """Lets no idle connection delay a stopping worker, whether it was used before or not."""
        soon = min(deadline, time.monotonic() + LINGER_S)
        super()._cap_keepalive(soon)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, soon)


def _nothing() -> None:
    """Wakes the worker's loop."""
