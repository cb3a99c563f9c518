"""Runs a program that a hostile file may take over: with little memory and no files, network, rights or orphans.

What it is locked in by depends on the system; `measures` says what holds. See launcher.py.
"""

from __future__ import annotations

import io
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).parents[2]
_START = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from whisper_core.audio.launcher import main; main()"
_IS_LINUX = sys.platform == "linux"
READ_BYTES = 1 << 16
STDERR_BYTES = 64_000  # the last ones are kept, because a program's last message says why it failed
STDERR_HEAD_BYTES = 64_000  # and the first ones, which say what it was given
EXIT_GRACE_S = 2.0
MEASURES_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class SandboxLimits:
    """The number of processes is not limited, because the system counts it per user, the server's threads included.

    Processes that the child starts are killed together with it.
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
        }
        if _IS_LINUX:  # macOS refuses to limit address space
            limits["RLIMIT_AS"] = self.memory_bytes
        return ",".join(f"{name}={value}" for name, value in limits.items())


class SandboxTimeoutError(Exception):
    """The child was still running at its time-out."""


@dataclass(eq=False)
class SandboxedChild:
    """A running child. One thread reads its output; meanwhile any thread may call `kill`."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    error_output: IO[bytes]
    deadline: float  # monotonic seconds
    first_errors: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)

    @property
    def messages(self) -> str:
        """What it said, without the middle if that was much."""
        return (self.first_errors + self.errors).decode("utf-8", "replace")

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
        """Kills the child and everything that it started. Harmless when it has ended."""
        if _IS_LINUX:
            self.process.send_signal(signal.SIGTERM)  # the launcher's supervisor does the rest
        else:
            self._kill_group()

    def end(self) -> None:
        """Kills them and waits until they are gone."""
        self.kill()
        try:
            self.process.wait(EXIT_GRACE_S)
        except subprocess.TimeoutExpired:
            self._kill_group()

    def _kill_group(self) -> None:
        """Also useful after `wait`, for processes that the child left behind: its id, which names the group, is not
        reused until all ids have been used once."""
        with suppress(ProcessLookupError, PermissionError):  # gone already; macOS raises PermissionError for a zombie
            os.killpg(self.process.pid, signal.SIGKILL)

    def _keep(self, data: bytes) -> None:
        head = data[: STDERR_HEAD_BYTES - len(self.first_errors)]
        self.first_errors += head
        self.errors += data[len(head) :]
        del self.errors[:-STDERR_BYTES]


@contextmanager
def sandboxed(
    command: Sequence[str], limits: SandboxLimits, *, source: io.FileIO | None = None, left_out: Collection[str] = ()
) -> Iterator[SandboxedChild]:
    """Starts `command`, whose program is an absolute path, in an empty folder and without environment.

    source: its standard input, the only file of ours that it can read; None: nothing. left_out: measures that the
    program does not bear, `landlock` or `uid`. When the block ends, the child and all that it started have ended.
    """
    process = subprocess.Popen(
        _launch(command, limits, left_out),
        stdin=source or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
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
            child.end()


@cache
def measures(program: str) -> Mapping[str, str]:
    """What that program is locked in by on this system, by trying: such as {"network": "off", "uid": "65534"}.

    program: its absolute path. It is not started.

    Raises OSError or subprocess.SubprocessError when no child can be started.
    """
    if not _IS_LINUX:
        return {"network": "open", "uid": str(os.getuid())}
    limits = SandboxLimits(memory_bytes=2 << 30, timeout_s=MEASURES_TIMEOUT_S)
    tried = subprocess.run(
        _launch([program], limits, ["report"]),
        env={},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=MEASURES_TIMEOUT_S,
        check=True,
    )
    return dict(pair.split("=") for pair in tried.stdout.decode().split())


def _launch(command: Sequence[str], limits: SandboxLimits, words: Collection[str]) -> list[str]:
    """words: see launcher.py."""
    arguments = [limits.as_argument(), str(limits.niceness), str(os.getpid()), tempfile.gettempdir()]
    return [sys.executable, "-I", "-S", "-c", _START, *arguments, ",".join(words), *command]
