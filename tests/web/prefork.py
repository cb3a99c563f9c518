"""Forks servers for tests from a process that has imported them: `python -m tests.web.prefork SOCKET`.

A server that starts anew spends a second of a core on imports, and tests start more than a hundred of them. What is
forked has the arguments, folder, environment and output of a program of its own, and ends like one. `forked.py` asks
for it.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing.process
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time

MODULES = ("tests.web.serve_fake", "tests.server.serve_fake_engine")
IMPORTED = (*MODULES, "config", "web.server.gunicorn_app", "optimizer.system", "optimizer.intake.task_intake")
LONGEST_REQUEST = 150_000  # bytes


def main() -> None:
    asked = socket.socket(fileno=int(sys.argv[1]))
    for name in IMPORTED:
        importlib.import_module(name)
    for name in MODULES:
        del sys.modules[name]  # it runs as `__main__`
    assert threading.active_count() == 1, threading.enumerate()  # others would not be there after a fork
    ended, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    told: dict[int, int] = {}  # where to tell of a server's end, by its process
    while True:
        ready, _, _ = select.select([asked.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 1000)
            tell_of_ends(told)
        if asked.fileno() in ready:
            request, pipes, _, _ = socket.recv_fds(asked, LONGEST_REQUEST, 2)
            if not request:  # the tests have ended
                return
            output, status = pipes
            pid = os.fork()
            if pid == 0:
                asked.detach()
                become(json.loads(request), output)
                return
            os.close(output)
            told[pid] = status
            os.write(status, b"%d\n" % pid)


def tell_of_ends(told: dict[int, int]) -> None:
    while told:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        where = told.pop(pid)
        try:
            os.write(where, b"%d\n" % os.waitstatus_to_exitcode(status))
        except BrokenPipeError:
            print(f"nobody waits for {pid}", file=sys.stderr)
        os.close(where)


def become(request: dict[str, object], output: int) -> None:
    """Runs the module that is asked for, as `python -m` does. Raises SystemExit as it does."""
    module, arguments, folder, environment = (request[key] for key in ("module", "arguments", "folder", "environment"))
    assert isinstance(module, str)
    assert isinstance(arguments, list)
    assert isinstance(folder, str)
    assert isinstance(environment, dict)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = [module, *arguments]
    sys.path[0] = multiprocessing.process.ORIGINAL_DIR = folder  # type: ignore[attr-defined]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
