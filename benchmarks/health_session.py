"""`health_probe` as a process that lasts as long as a with block."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType

from benchmarks.child_process import ROOT


class HealthSession:
    """times_ms: known after the block."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.times_ms: list[float] = []

    def __enter__(self) -> HealthSession:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.health_probe", self._address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        output, _ = self._process.communicate("")
        self.times_ms = json.loads(output)
