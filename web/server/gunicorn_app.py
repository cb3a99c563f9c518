"""gunicorn inside `python main.py`: a master that only watches, and one worker process with the system and the web.

The system starts in the worker after the fork and stops before the worker ends. Neither process imports torch.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from config import Settings
from errors import StartError
from logs import configure_logging
from web.application import Application
from web.http.open_files import FILES_SHARE, open_files_limit, raise_open_files_limit
from web.http.system_port import SystemPort
from web.server.gunicorn_worker import FrontWorker
from web.server.listener import address_of, listen
from web.server.restart_policy import RestartPolicy
from web.server.served_app import ServedApp
from web.server.worker_watch import BOOT_TIMEOUT_S, WorkerWatch

log = logging.getLogger(__name__)

WORKER_GRACE_S = 8  # for requests in progress; the system stops after them
MASTER_GRACE_S = 25  # then the worker is killed
MAX_CONNECTIONS = 4000


def serve(settings: Settings, make_system: Callable[[Settings], SystemPort], warnings: Iterable[str] = ()) -> int:
    """Serves until a signal asks to stop. Returns the process's exit code. Main thread only."""
    configure_logging(settings.log_level, log_format=settings.log_format)
    for warning in warnings:
        log.warning("%s", warning)
    os.umask(0o077)
    raise_open_files_limit()
    try:
        listener = listen(settings)
    except StartError as error:
        log.error("%s", error)
        return error.exit_code
    return _Server(settings, make_system, listener).serve_until_stopped()


class _Server(BaseApplication):  # type: ignore[misc]
    """What gunicorn asks for: configuration, the application, and what happens around its worker."""

    def __init__(
        self, settings: Settings, make_system: Callable[[Settings], SystemPort], listener: socket.socket
    ) -> None:
        self._threads = settings.web_threads
        self.trusted_proxies = settings.proxy_networks
        self._served = ServedApp(settings, make_system)
        self._restarts = RestartPolicy()
        self._watch = WorkerWatch()
        self._address = address_of(listener)
        self._descriptor = listener.detach()  # gunicorn closes it
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "bind": f"fd://{self._descriptor}",
            "workers": 1,
            "worker_class": FrontWorker,
            "threads": self._threads,
            "worker_connections": min(MAX_CONNECTIONS, open_files_limit() // FILES_SHARE),
            "preload_app": False,
            "max_requests": 0,
            "timeout": BOOT_TIMEOUT_S,  # see _Master.murder_workers
            "graceful_timeout": MASTER_GRACE_S,
            "limit_request_line": 0,  # the front's limits are larger than gunicorn allows
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

    def serve_until_stopped(self) -> int:
        """Returns the exit code, in the master only; the worker ends in `_worker_exit`."""
        try:
            _Master(self).run()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 0
        return 0

    def load(self) -> Application:
        """Called by gunicorn, in the worker."""
        try:
            return self._served.build()
        except Exception as error:  # noqa: BLE001 - logged there
            self._give_up(error)

    def close_live_connections(self) -> None:
        """Called by FrontWorker when it is asked to stop."""
        self._served.close_live_connections()

    def _post_worker_init(self, worker: FrontWorker) -> None:
        try:
            self._served.start()
        except Exception as error:  # noqa: BLE001 - logged there
            self._give_up(error)
        worker.notify()
        self._watch.begin()
        log.info("listening on %s", self._address)

    @property
    def watch_timeout_s(self) -> int:
        """For the master: how long its worker may give no sign of life."""
        return self._watch.timeout_s

    def _give_up(self, error: Exception) -> NoReturn:
        """Logs why the server cannot start. The worker ends with 0, so that gunicorn logs nothing of its own."""
        if isinstance(error, StartError):
            log.error("%s", error)
            self._restarts.record_failed_start(error.exit_code)
        else:
            log.error("event=start_failed", exc_info=error)
            self._restarts.record_failed_start(StartError.exit_code)
        raise SystemExit(0)

    def _worker_exit(self, _: Arbiter, worker: FrontWorker) -> None:
        """The worker's last act. It leaves by _exit, because exit would join threads that still wait on sockets."""
        self._watch.end()  # stopping the system may take its time
        try:
            self._served.stop()
        except Exception:
            log.exception("event=stop_failed")
        finally:
            is_asked_to = not worker.alive or self._restarts.has_failed_start
            os._exit(0 if is_asked_to else 1)

    def _child_exit(self, _: Arbiter, __: FrontWorker) -> None:
        """In the master. Without a SystemExit gunicorn starts another worker."""
        self._watch.end()
        exit_code = self._restarts.exit_code_after_death()
        if exit_code is not None:
            raise SystemExit(exit_code)


class _Master(Arbiter):  # type: ignore[misc]
    """Ignores the signals that would start a second worker: only one process may use the data folder."""

    _is_stopping = False

    def stop(self, graceful: bool = True) -> None:
        self._is_stopping = True
        super().stop(graceful)

    def signal(self, sig: int, frame: FrameType | None) -> None:
        """Hands a second request to stop to the worker, which then stops at once. Upstream would kill it after 2 s."""
        if self._is_stopping and sig in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self.kill_workers(signal.SIGTERM)
        else:
            super().signal(sig, frame)

    def handle_int(self) -> NoReturn:
        """Ctrl-C stops the server as gently as SIGTERM."""
        raise StopIteration

    def handle_hup(self) -> NoReturn:
        """A closed terminal stops the server. Settings are not read again."""
        raise StopIteration

    def murder_workers(self) -> None:
        """Notices a hung worker sooner than a start may take: it gives a sign of life every second once it listens."""
        self.timeout = self.app.watch_timeout_s
        super().murder_workers()

    def _ignore(self) -> None:
        log.info("event=signal_ignored")

    handle_ttin = handle_ttou = handle_usr2 = handle_winch = _ignore


class _Log(Logger):  # type: ignore[misc]
    """Sends gunicorn's warnings and errors to our log. The rest of what it says, we say ourselves where it matters."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)


def _post_fork(_: Arbiter, worker: FrontWorker) -> None:
    """In the worker, which has its own copy of the configuration: it must end before the master kills it."""
    worker.cfg.set("graceful_timeout", WORKER_GRACE_S)
