"""Runs a program that a hostile file may take over: with little memory, no files, no environment and no orphans."""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_LAUNCHER = Path(__file__).with_name("launcher.py")
READ_BYTES = 1 << 16
STDERR_BYTES = 64_000  # the last ones are kept, because a program's last message says why it failed
EXIT_GRACE_S = 2.0


@dataclass(frozen=True)
class SandboxLimits:
    """The number of processes is not limited, because the system counts it per user, the server's threads included.

    Processes that the child forks are killed together with it, as a group.
    """

    memory_bytes: int  # of address space
    timeout_s: float  # wall time; the CPU time may be twice as much
    open_files: int = 64
    niceness: int = 5

    def as_argument(self) -> str:
        limits = {
            "RLIMIT_CPU": math.ceil(self.timeout_s) * 2,  # two threads may compute at once
            "RLIMIT_FSIZE": 0,  # the child writes to pipes only
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_CORE": 0,
        }
        if sys.platform == "linux":  # macOS refuses to limit address space
            limits["RLIMIT_AS"] = self.memory_bytes
        return json.dumps({"limits": limits, "niceness": self.niceness})


class SandboxTimeoutError(Exception):
    """The child was still running at its time-out."""


@dataclass(eq=False)
class SandboxedChild:
    """A running child. One thread reads its output; meanwhile any thread may call `kill`."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    error_output: IO[bytes]
    deadline: float  # monotonic seconds
    errors: bytearray = field(default_factory=bytearray)

    def stdout(self) -> Iterator[bytes]:
        """The child's output as it arrives. Collects stderr in `errors`. Raises SandboxTimeoutError."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.output, selectors.EVENT_READ)
            selector.register(self.error_output, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, self.deadline - time.monotonic()))
                if time.monotonic() >= self.deadline:
                    raise SandboxTimeoutError()
                for key, _ in ready:
                    data = os.read(key.fd, READ_BYTES)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self.output:
                        yield data
                    else:
                        self._keep(data)

    def wait(self) -> int:
        """The exit status of a child that has closed its output; negative: a signal. Raises SandboxTimeoutError."""
        try:
            return self.process.wait(EXIT_GRACE_S)
        except subprocess.TimeoutExpired as error:
            raise SandboxTimeoutError() from error

    def kill(self) -> None:
        """Kills the child and everything that it started.

        Also useful after `wait`, for processes that the child left behind: its id, which names the group, is not reused
        until all ids have been used once.
        """
        with suppress(ProcessLookupError, PermissionError):  # gone already; macOS raises PermissionError for a zombie
            os.killpg(self.process.pid, signal.SIGKILL)

    def _keep(self, data: bytes) -> None:
        self.errors += data
        del self.errors[:-STDERR_BYTES]


@contextmanager
def sandboxed(command: Sequence[str], limits: SandboxLimits) -> Iterator[SandboxedChild]:
    """Starts `command`, whose program is an absolute path, in an empty folder, without environment and input.

    The child leads a process group of its own, which has been killed and waited for when the block ends.
    """
    launch = [sys.executable, "-I", "-S", str(_LAUNCHER), limits.as_argument(), *command]
    with tempfile.TemporaryDirectory(prefix="sandbox-") as empty_folder:
        process = subprocess.Popen(
            launch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=empty_folder,
            env={},
            start_new_session=True,
        )
        assert process.stdout is not None  # noqa: S101 - requested above
        assert process.stderr is not None  # noqa: S101
        with process:
            child = SandboxedChild(process, process.stdout, process.stderr, time.monotonic() + limits.timeout_s)
            try:
                yield child
            finally:
                child.kill()
