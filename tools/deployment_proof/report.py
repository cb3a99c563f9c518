"""The transcript of a proof, on standard output."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

LAST_WORDS = 3000


class ProofError(Exception):
    """Something did not hold."""


def say(text: str) -> None:
    print(text, flush=True)


def begin(title: str, limits: str) -> None:
    """limits: what the proof does not show, said before anything else."""
    say(f"{title}\n{datetime.now(UTC):%Y-%m-%d}, {processor()}\n\n{limits}")


def run_logged(command: Sequence[str], log: Path, limit_s: float) -> None:
    """Raises ProofError with the end of what the command said when it fails."""
    with open(log, "w", encoding="utf-8") as file:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=limit_s)
    if done.returncode != 0:
        end = log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:]
        raise ProofError(f"{command[0]} ended with {done.returncode}:\n{end}")


@contextmanager
def step(name: str) -> Iterator[None]:
    say(f"\n== {name}")
    began = time.monotonic()
    yield
    say(f"({time.monotonic() - began:.0f} s)")


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(': ')[2]}, {os.cpu_count()} cores"
    return platform.machine()
