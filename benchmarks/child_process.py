"""Contenders as processes of their own: each has its own libraries, threads and memory, and waits while others run.

A child reads one JSON object a line, {"recordings": [{"name", "samples"}], "mode"}, and answers each by one line: a
Measurement. Standard library only: the peers' environment reads this file too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.measurement import Measurement

ROOT = Path(__file__).resolve().parent.parent
STOP_LIMIT_S = 20.0


@dataclass(frozen=True)
class Sound:
    """samples: path of 16 kHz mono s16le samples without a header."""

    name: str
    samples: str


@dataclass(frozen=True)
class Request:
    recordings: tuple[Sound, ...]
    mode: str


class Child:
    """The script's side. Enter it as a context; the child ends at its end."""

    def __init__(self, python: str, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._title = " ".join([module, *arguments])

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def measure(self, recordings: Sequence[Sound], mode: str = "exact") -> Measurement:
        """Blocks. Raises RuntimeError when the child has died; why is on its standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        sounds = [{"name": recording.name, "samples": recording.samples} for recording in recordings]
        self._process.stdin.write(json.dumps({"recordings": sounds, "mode": mode}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._title} ended with exit code {self._process.wait(STOP_LIMIT_S)}")
        return Measurement.from_dict(json.loads(answer))


def serve(measure: Callable[[Request], Measurement]) -> None:
    """The child's side: answers requests until its input ends. Whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with answers:
        for line in sys.stdin:
            fields = json.loads(line)
            sounds = tuple(Sound(**sound) for sound in fields["recordings"])
            print(json.dumps(measure(Request(sounds, fields["mode"])).to_dict()), file=answers, flush=True)


def forget_peak() -> None:
    """Let `peak_bytes` count from now on (Linux; elsewhere it counts from the process's start)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """This process's largest resident size since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not tell the largest resident size")
