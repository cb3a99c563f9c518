"""A server's process that is forked from one which has imported it; see `prefork.py`."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import psutil

from tests.leaks import lasting
from tests.paths import ROOT

ANSWER_LIMIT_S = 60.0


class ForkedProcess:
    """As much of `subprocess.Popen` as RunningServer uses. It is no child of this process."""

    def __init__(self, module: str, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        request = {"module": module, "arguments": arguments, "folder": str(folder), "environment": environment}
        output, their_output = os.pipe()
        self._status, their_status = os.pipe()
        socket.send_fds(_factory(), [json.dumps(request).encode()], [their_output, their_status])
        os.close(their_output)
        os.close(their_status)
        self.stdout = open(output, "rb")  # noqa: SIM115 - whoever reads it closes it
        self._code: int | None = None
        self.pid = self._next_number(ANSWER_LIMIT_S)

    def poll(self) -> int | None:
        """Its exit code once it has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float) -> int:
        if self._code is None:
            self._code = self._next_number(timeout)
            os.close(self._status)
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _next_number(self, timeout: float) -> int:
        if not select.select([self._status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("a forked server", timeout)
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._status, 1)
            assert byte, "the process that forks servers has ended"
            line += byte
        return int(line)


@cache
def _factory() -> socket.socket:
    """Of this test process; it ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.web.prefork", str(theirs.fileno())],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    lasting(psutil.Process(process.pid))

    def end() -> None:
        ours.close()
        process.wait(ANSWER_LIMIT_S)

    atexit.register(end)
    return ours
