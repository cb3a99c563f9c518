"""What the processes of contenders that take one recording at a time have in common.

Standard library and numpy only: the peers' environment reads this file too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.child_process import Request, forget_peak, peak_bytes
from benchmarks.measurement import Measurement, Text
from benchmarks.samples import read_samples


@dataclass
class Counter:
    """What a contender counted since the last `reset`."""

    windows: int = 0
    tokens: int = 0
    fallbacks: int = 0

    def reset(self) -> None:
        self.windows = self.tokens = self.fallbacks = 0


def one_by_one(
    transcribe: Callable[[np.ndarray], Text], counter: Counter | None = None
) -> Callable[[Request], Measurement]:
    """How such a contender answers a request. It is used once here, for what is set up at the first use."""
    transcribe(np.zeros(16_000, dtype=np.float32))

    def measure(request: Request) -> Measurement:
        if counter is not None:
            counter.reset()
        forget_peak()
        began = time.perf_counter()
        texts = {sound.name: transcribe(read_samples(sound.samples)) for sound in request.recordings}
        seconds = time.perf_counter() - began
        plain = Measurement(seconds, texts, peak_bytes())
        if counter is None:
            return plain
        return replace(plain, windows=counter.windows, tokens=counter.tokens, fallbacks=counter.fallbacks)

    return measure
