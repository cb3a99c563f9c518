"""gunicorn inside `python main.py`: a master that only watches, and one worker process that holds system and web.

The system starts in the worker after the fork and stops before the worker ends; neither process imports torch.
"""

from __future__ import annotations

import logging
import mmap
import os
import resource
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from config import Settings
from errors import StartError
from logs import configure_logging
from web.application import create_app, live_feed_of
from web.http.system_port import SystemPort
from web.server.gunicorn_worker import LiveThreadWorker
from web.server.listener import address_of, listen

log = logging.getLogger(__name__)

UNHEALTHY_EXIT_CODE = 70  # EX_SOFTWARE: a service manager should start the server again
BOOT_TIMEOUT_S = 120
WORKER_GRACE_S = 8  # for requests in progress; the system's own stop comes after it
MASTER_GRACE_S = 25  # then the worker is killed
KEEPALIVE_S = 5
MAX_DEATHS, DEATHS_WINDOW_S = 5, 60.0
MAX_OPEN_FILES = 65_536


def serve(settings: Settings, make_system: Callable[[Settings], SystemPort], warnings: Iterable[str] = ()) -> int:
    """Serves until a signal says stop; the process's exit code. Main thread only."""
    configure_logging(settings.log_level)
    for warning in warnings:
        log.warning("%s", warning)
    if settings.is_public:
        log.warning(
            "HOST=%s: everybody who can reach this machine can read, add and delete recordings; there are no accounts",
            settings.host,
        )
    os.umask(0o077)
    _raise_open_files_limit()
    try:
        listener = listen(settings)
    except StartError as error:
        log.error("%s", error)
        return error.exit_code
    return _Server(settings, make_system, listener).exit_code_of_run()


class _Server(BaseApplication):  # type: ignore[misc]
    """What gunicorn asks for: configuration, the application, and what happens around its worker."""

    def __init__(
        self, settings: Settings, make_system: Callable[[Settings], SystemPort], listener: socket.socket
    ) -> None:
        self._settings = settings
        self._make_system = make_system
        self._address = address_of(listener)
        self._descriptor = listener.detach()  # gunicorn closes it
        self._start_failure = _SharedExitCode()
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        self._system: SystemPort  # from `load` on
        self._is_started = False
        super().__init__()

    def load_config(self) -> None:
        threads = self._settings.web_threads
        for name, value in {
            "bind": f"fd://{self._descriptor}",
            "workers": 1,
            "worker_class": LiveThreadWorker,
            "threads": threads,
            "worker_connections": max(1000, 2 * threads),
            "preload_app": False,
            "max_requests": 0,
            "timeout": BOOT_TIMEOUT_S,
            "graceful_timeout": MASTER_GRACE_S,
            "keepalive": KEEPALIVE_S,
            "umask": 0o077,
            "control_socket_disable": True,  # it would be made in the user's home folder
            "forwarded_allow_ips": "",
            "logger_class": _Log,
            "post_fork": _post_fork,
            "post_worker_init": self._post_worker_init,
            "worker_exit": self._worker_exit,
            "child_exit": self._child_exit,
        }.items():
            self.cfg.set(name, value)

    def exit_code_of_run(self) -> int:
        """Returns in the master only; the worker leaves in `_worker_exit`."""
        try:
            _Master(self).run()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 0
        return 0

    def load(self) -> Any:
        """In the worker."""
        try:
            self._system = self._make_system(self._settings)
            return create_app(self._settings, self._system)
        except Exception as error:  # noqa: BLE001 — logged there
            self._give_up(error)

    def close_live_connections(self) -> None:
        if self.callable is not None:
            live_feed_of(self.callable).close_connections()

    def _post_worker_init(self, worker: LiveThreadWorker) -> None:
        try:
            self._system.start()
        except Exception as error:  # noqa: BLE001 — logged there
            self._give_up(error)
        live_feed_of(self.callable).start()
        self._is_started = True
        log.info("listening on %s", self._address)

    def _give_up(self, error: Exception) -> NoReturn:
        """One clear message and no second try: the master ends with this code. Ours is 0: no words of gunicorn's."""
        if isinstance(error, StartError):
            log.error("%s", error)
            self._start_failure.set(error.exit_code)
        else:
            log.error("event=start_failed", exc_info=error)
            self._start_failure.set(StartError.exit_code)
        raise SystemExit(0)

    def _worker_exit(self, _: Arbiter, worker: LiveThreadWorker) -> None:
        """The worker's last act. It leaves by _exit: sockets' threads that still wait would be joined otherwise."""
        try:
            if self._is_started:
                live_feed_of(self.callable).stop()
                self._system.stop()
        except Exception:
            log.exception("event=stop_failed")
        finally:
            is_asked_to = not worker.alive or self._start_failure.is_set
            os._exit(0 if is_asked_to else 1)

    def _child_exit(self, _: Arbiter, __: LiveThreadWorker) -> None:
        """In the master, when the worker ended: start it again, unless that cannot help."""
        if self._start_failure.is_set:
            raise SystemExit(self._start_failure.get())
        now = time.monotonic()
        self._deaths.append(now)
        if len(self._deaths) == MAX_DEATHS and now - self._deaths[0] < DEATHS_WINDOW_S:
            log.error("event=given_up reason='the server process ended %d times in a minute'", MAX_DEATHS)
            raise SystemExit(UNHEALTHY_EXIT_CODE)


class _Master(Arbiter):  # type: ignore[misc]
    """Without what would make a second worker: only one may hold the data folder."""

    def handle_int(self) -> NoReturn:
        """Ctrl-C ends as gently as SIGTERM."""
        raise StopIteration

    def handle_hup(self) -> NoReturn:
        """A closed terminal ends the server; settings are read at the start only."""
        raise StopIteration

    def _ignore(self) -> None:
        log.info("event=signal_ignored")

    handle_ttin = handle_ttou = handle_usr2 = handle_winch = _ignore


class _Log(Logger):  # type: ignore[misc]
    """gunicorn's messages, in our log and from WARNING on: what it does is said by us where it matters."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)


class _SharedExitCode:
    """An exit code that the worker leaves for the master; made before the fork, seen by both."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, struct.calcsize("?i"))

    @property
    def is_set(self) -> bool:
        return bool(struct.unpack_from("?i", self._memory)[0])

    def set(self, code: int) -> None:
        struct.pack_into("?i", self._memory, 0, True, code)

    def get(self) -> int:
        return int(struct.unpack_from("?i", self._memory)[1])


def _post_fork(_: Arbiter, worker: LiveThreadWorker) -> None:
    """In the worker, whose configuration is its own copy: it must be done before the master loses patience."""
    worker.cfg.set("graceful_timeout", WORKER_GRACE_S)


def _raise_open_files_limit() -> None:
    """The soft limit, usually 1024, to the hard one: each open page and each upload takes descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
