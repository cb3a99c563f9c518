"""gunicorn's worker: the front on its main thread, server threads behind it, and a quick and clean end.

Written against gunicorn 27.0. Of gunicorn it uses the worker's base class, the parser and the WSGI response.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from gunicorn.workers.base import Worker

from web.server.front import Front
from web.server.lanes import Lanes, lane_sizes
from web.server.request_handler import RequestHandler

LOOK_EVERY_S = 1.0


class FrontWorker(Worker):  # type: ignore[misc]
    """The gunicorn application (`self.app`) must have `close_live_connections()` and `trusted_proxies`."""

    alive: bool

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._front: Front | None = None
        self._is_hurried = False

    def init_signals(self) -> None:
        """Leaves Ctrl-C and a closed terminal to the master: both signals reach the whole process group."""
        super().init_signals()
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stops gently at the first signal (no new requests; those in progress may end), at once at the second.

        Live connections are closed, because nothing more will be told to them.
        """
        if self.alive:
            self.alive = False
            threading.Thread(target=self.app.close_live_connections, name="close-connections", daemon=True).start()
        else:
            self._is_hurried = True
        if self._front is not None:
            self._front.refuse_requests()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """As handle_exit. Upstream would end the process without stopping the system."""
        self.handle_exit(sig, frame)

    def run(self) -> None:
        """The worker's main loop; ends when it is asked to stop, or when its master has died."""
        handler = RequestHandler(self.cfg, self.wsgi, is_stopping=self._is_stopping)
        lanes = Lanes(lane_sizes(self.cfg.threads))
        front = self._front = Front(
            self.cfg,
            self.sockets,
            lanes,
            handler,
            limit=self.cfg.worker_connections,
            proxies=self.app.trusted_proxies,
        )
        while self.alive and self.ppid == os.getppid():
            self.notify()
            front.run_once(LOOK_EVERY_S)
        front.begin_to_stop()
        ends_at = time.monotonic() + self.cfg.graceful_timeout
        while front.has_work and time.monotonic() < ends_at and not self._is_hurried:
            self.notify()
            front.run_once(LOOK_EVERY_S)
        self._front = None
        front.close()

    def _is_stopping(self) -> bool:
        return not self.alive
