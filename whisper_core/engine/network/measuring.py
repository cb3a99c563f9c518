"""The fastest of several ways to compute the same, found by measuring: it depends on the processor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# Smaller models take too little time to be measured, and to matter.
_LEAST_STATE_TO_MEASURE = 384
_MEASUREMENTS = 3
_HOPELESS = 4.0  # times the fastest one's time, and over a second: not tried again
_WORTH_IT = 0.97  # of the first one's time: with less gain the choice would change from one load to the next


@dataclass(frozen=True)
class Choice:
    name: str
    milliseconds: Mapping[str, float]  # of every way, by name; empty when they were not measured


def fastest(ways: Mapping[str, Callable[[], Tensor]], state: int) -> Choice:
    """The fastest; the first one, unless another is faster by more than a little.

    state: of the model, as are the sizes of what is computed.
    """
    first = next(iter(ways))
    if state < _LEAST_STATE_TO_MEASURE:
        return Choice(first, {})
    seconds = dict.fromkeys(ways, math.inf)
    with torch.inference_mode():
        for _ in range(1 + _MEASUREMENTS):  # the first time each sets itself up
            slowest = max(1.0, _HOPELESS * min(seconds.values()))
            for name, way in ways.items():  # in turn, so that a change of the machine's load meets all of them
                if seconds[name] <= slowest:
                    began = time.perf_counter()
                    way()
                    seconds[name] = min(seconds[name], time.perf_counter() - began)
    best = min(ways, key=lambda name: seconds[name])
    chosen = best if seconds[best] < _WORTH_IT * seconds[first] else first
    return Choice(chosen, {name: 1e3 * each for name, each in seconds.items()})
