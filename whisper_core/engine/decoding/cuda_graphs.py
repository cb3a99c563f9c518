"""How a bank's passes reach the device: on the CPU they are called as they are, on a GPU replayed as CUDA graphs.

Launching the hundreds of small kernels of a pass one by one would take longer than running them. A graph computes with
fixed sizes and addresses, so sizes are rounded up to buckets; what is computed too much lands in rows and positions
that nobody reads. Graphs are captured when they are first wanted and share one memory pool. Where capturing fails, the
engine goes on without graphs and says so once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

log = logging.getLogger(__name__)

_SLOTS_APART = 16  # above as many: a step reads every slot's keys and values, so the next power of two would be dear
_POSITIONS_APART = 128  # the self-attention cache is a fifth of what a step reads; each bucket more is a graph more
_PROMPT_BUCKETS = (8, 32, 64, 128, 256)
_RUNS_BEFORE_CAPTURE = 2


@dataclass(frozen=True)
class PassSizes:
    """What a pass is computed for. most_slots, most_positions: that there is memory for. has_buckets: else exactly what
    is asked for."""

    most_slots: int
    most_positions: int
    has_buckets: bool

    def slots(self, slots: int) -> int:
        if not self.has_buckets:
            return slots
        bucket = 1 << (slots - 1).bit_length() if slots <= _SLOTS_APART else _up_to(slots, _SLOTS_APART)
        return min(bucket, self.most_slots)

    def positions(self, length: int) -> int:
        """Of the self-attention cache."""
        return min(_up_to(length, _POSITIONS_APART) if self.has_buckets else length, self.most_positions)

    def prompt(self, length: int) -> int:
        if not self.has_buckets:
            return length
        bucket = next((bucket for bucket in _PROMPT_BUCKETS if bucket >= length), self.most_positions)
        return min(bucket, self.most_positions)


class Launch(Protocol):
    """Runs a pass."""

    def __call__(self, key: Hashable, work: Callable[[], Tensor]) -> Tensor:
        """What `work` gives; valid until the next call.

        key: names the work with its sizes; the same key is always the same work on the same memory.
        """


def direct_launch(key: Hashable, work: Callable[[], Tensor]) -> Tensor:
    return work()


class GraphLaunch:
    """Runs a pass as it is at first, since what libraries do only once must not be captured; then captures it, and from
    there on replays it. For one bank's memory: made anew when that moves.

    On the thread's current stream, which must not be the default one. All graphs share a memory pool, which is sound
    because their results are used up before the next one is replayed.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._num_runs: Counter[Hashable] = Counter()
        self._is_possible = True

    def __call__(self, key: Hashable, work: Callable[[], Tensor]) -> Tensor:
        if key not in self._graphs and not self._try_capture(key, work):
            self._num_runs[key] += 1
            return work()
        graph, result = self._graphs[key]
        graph.replay()
        return result

    def _try_capture(self, key: Hashable, work: Callable[[], Tensor]) -> bool:
        """Whether there is a graph now. A pass that has run fits the memory, so when only its capture finds none, it
        goes on as it is; a pass that finds none when it runs raises, and the batch shrinks."""
        if not self._is_possible or self._num_runs[key] < _RUNS_BEFORE_CAPTURE:
            return False
        try:
            self._graphs[key] = self._captured(work)
        except RuntimeError as error:
            self._is_possible = False
            _say_that_graphs_are_off(type(error).__name__)
        return self._is_possible

    def _captured(self, work: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Not by `torch.cuda.graph`, which waits for the whole device and empties every cache first, the encoder's too.

        Only this thread is captured: the lane's goes on launching kernels and allocating memory meanwhile.
        """
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            result = work()
        finally:
            graph.capture_end()
        return graph, result


def launch_on(device: torch.device, slots: int) -> Launch:
    """For a bank that has now memory for so many slots."""
    if device.type != "cuda":
        return direct_launch
    torch.cuda.current_stream().synchronize()  # graphs of the memory before, which go now, may be running still
    return GraphLaunch() if slots else direct_launch


def _up_to(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


@cache
def _say_that_graphs_are_off(reason: str) -> None:
    log.warning("event=graphs_off reason=%s: passes are launched kernel by kernel", reason)
