"""gunicorn's thread worker, taught to end quickly and cleanly with WebSockets open.

Written against gunicorn 27.0 (`gunicorn/workers/gthread.py`); what is changed and why stands at each method.
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

IDLE_TIMEOUT_S = 30.0  # a client that neither sends nor takes a byte for so long is given up
FIRST_BYTE_TIMEOUT_S = 0.5
LINGER_S = 0.5  # how long a stopping worker keeps unused connections open
OUT_OF_FILES_PAUSE_S = 0.1


class LiveThreadWorker(ThreadWorker):  # type: ignore[misc]
    """Needs an application (gunicorn's) with `close_live_connections()`, which ends the live feed's connections."""

    alive: bool

    def init_signals(self) -> None:
        """Ctrl-C and a closed terminal reach the whole process group; only the master decides what they mean."""
        super().init_signals()
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: no new connections, those in progress may end. Second signal: at once.

        Without the goodbye every open WebSocket would hold the worker for the whole graceful time-out.
        """
        is_first = bool(self.alive)
        self.alive = False
        if is_first:
            threading.Thread(target=self.app.close_live_connections, name="close-connections", daemon=True).start()
        else:
            self.nr_conns = 0
        self.method_queue.defer(_nothing)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """As handle_exit: upstream would end the process under the system's hands."""
        self.handle_exit(sig, frame)

    def handle(self, conn: TConn) -> Any:
        """Gives a new connection that says nothing back to the poller soon: browsers open some in advance, and each
        would hold a thread for five seconds, a stopping worker with it."""
        is_new = not conn.initialized and not conn.data_ready
        if is_new and not conn.wait_for_data(FIRST_BYTE_TIMEOUT_S):
            return _DEFER
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """With a time-out on each wait for the client, so that a stalled upload does not hold its thread for ever."""
        conn.sock.settimeout(IDLE_TIMEOUT_S)
        return super().handle_request(req, conn)

    def accept(self, listener: Any) -> None:
        """Survives a process that is out of file descriptors; upstream's loop would end with it."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            log.error("event=connection_refused reason=%r", error.strerror)
            time.sleep(OUT_OF_FILES_PAUSE_S)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Counts each connection once: upstream subtracts twice when a WebSocket has closed its own connection."""
        before = self.nr_conns
        super().finish_request(conn, fs)
        self.nr_conns = max(self.nr_conns, before - 1)

    def _cap_keepalive(self, deadline: float) -> None:
        """Unused connections do not hold a stopping worker, whether they were used before or not."""
        soon = min(deadline, time.monotonic() + LINGER_S)
        super()._cap_keepalive(soon)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, soon)


def _nothing() -> None:
    """Wakes the worker's loop."""
