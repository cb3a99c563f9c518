"""The real server with a fake engine in its device's process: `python -m tests.server.serve_fake_engine`.

Settings come from the environment alone. FAKE_ENGINE names another engine of tests/fake_engine.py. FAULTS, such as
`store.before_commit@3=kill`, arms failpoints: at the third hit there the server is killed with its master; `=exit`
raises SystemExit, `@3-5` stands for three hits, and `=kill/device-` for those on threads whose names begin so.
TEST_DECODE_WAIT_S: how long an upload waits for what is found in its file.
With KILL_AFTER_INSERT the server is killed once the first upload's task is committed and before anybody is told of it.

As main.py, it imports the server inside functions: the device's process imports this module as well.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from optimizer.common import failpoints
from tests.optimizer.faults import kill_process

if TYPE_CHECKING:
    from config import Settings


def serve() -> int:
    """Serves until a signal asks to stop. Returns the process's exit code."""
    gc.disable()  # as main.py
    from config import load_settings
    from optimizer.intake import task_intake
    from web.server import gunicorn_app

    gc.freeze()
    gc.enable()
    task_intake.DECODE_WAIT_S = float(os.environ.get("TEST_DECODE_WAIT_S", task_intake.DECODE_WAIT_S))
    arm_faults(os.environ.get("FAULTS", ""))
    return gunicorn_app.serve(load_settings(None), make_system)


def make_system(settings: Settings) -> Any:
    from optimizer.devices.worker_process import WorkerConfig
    from optimizer.system import OptimizedWhisperSystem

    if os.environ.get("KILL_AFTER_INSERT"):
        failpoints.arm({"upload.committed": _kill_at_the_next_commit_of_this_thread})
    engine = os.environ.get("FAKE_ENGINE", "FakeEngine")
    worker = WorkerConfig(f"tests.fake_engine:{engine}", cpu_threads=1)
    make_leader = partial(OptimizedWhisperSystem, settings, worker=worker)
    if settings.leader_election:  # as main.py
        from optimizer.leadership.shared_system import SharedSystem

        return SharedSystem(settings, make_leader)
    return make_leader()


class _AtHits:
    """An action that acts at some of its calls."""

    def __init__(self, hits: range, act: Callable[[], object], threads: str) -> None:
        self._hits, self._act, self._threads = hits, act, threads
        self._count = itertools.count(1)

    def __call__(self) -> None:
        is_counted = threading.current_thread().name.startswith(self._threads)
        if is_counted and next(self._count) in self._hits:
            self._act()


def kill_server() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    kill_process()


def arm_faults(text: str) -> None:
    acts: dict[str, Callable[[], object]] = {"kill": kill_server, "exit": sys.exit}
    for fault in text.split():
        where, _, what = fault.partition("=")
        act, _, threads = what.partition("/")
        name, _, hits = where.partition("@")
        first, _, last = hits.partition("-")
        failpoints.arm({name: _AtHits(range(int(first), int(last or first) + 1), acts[act], threads)})


def _kill_at_the_next_commit_of_this_thread() -> None:
    thread = threading.get_ident()

    def kill() -> None:
        if threading.get_ident() == thread:
            kill_server()

    failpoints.arm({"store.after_commit": kill})


if __name__ == "__main__":
    sys.exit(serve())
