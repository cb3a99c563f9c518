"""How a slot batch's passes are launched: called directly on the CPU, replayed as CUDA graphs on a GPU.

Launching the hundreds of small kernels of a pass one by one would take longer than running them. A graph computes with
fixed sizes and addresses, so sizes are rounded up to buckets; the surplus lands in rows and positions that nobody
reads. Graphs are captured when they are first needed and share one memory pool. Where capturing fails, the engine runs
without graphs and logs that once.
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

# From 16 slots on, buckets are 16 apart: a step reads every slot's keys and values, so powers of two would cost much.
_SLOTS_APART = 16
# The self-attention cache is a fifth of what a step reads, and every further bucket is a further graph.
_POSITIONS_APART = 128
_PROMPT_BUCKETS = (8, 32, 64, 128, 256)
_RUNS_BEFORE_CAPTURE = 2


@dataclass(frozen=True)
class PassSizes:
    """The sizes that a pass is computed with."""

    most_slots: int  # that there is memory for
    most_positions: int  # that there is memory for
    has_buckets: bool  # whether sizes are rounded up to buckets; without, they stay as they are

    def slots(self, slots: int) -> int:
        if not self.has_buckets:
            return slots
        bucket = 1 << (slots - 1).bit_length() if slots <= _SLOTS_APART else _up_to(slots, _SLOTS_APART)
        return min(bucket, self.most_slots)

    def positions(self, length: int) -> int:
        """In the self-attention cache."""
        return min(_up_to(length, _POSITIONS_APART) if self.has_buckets else length, self.most_positions)

    def prompt(self, length: int) -> int:
        if not self.has_buckets:
            return length
        bucket = next((bucket for bucket in _PROMPT_BUCKETS if bucket >= length), self.most_positions)
        return min(bucket, self.most_positions)


class Launch(Protocol):
    """Runs a pass."""

    def __call__(self, key: Hashable, work: Callable[[], Tensor]) -> Tensor:
        """The result of `work`, valid until the next call.

        key: names the work and its sizes; one key always stands for the same work on the same memory.
        """


def direct_launch(key: Hashable, work: Callable[[], Tensor]) -> Tensor:
    return work()


class GraphLaunch:
    """Calls a pass directly at first, because what libraries do only once must not be captured; then captures it, and
    from then on replays the graph.

    For one slot batch's memory: make a new one when that moves. Works on the thread's current CUDA stream, which must
    not be the default one. All graphs share a memory pool, which is safe because the result of one is used up before
    the next is replayed.
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
        """Whether there is a graph now.

        A pass that has run before fits into memory: when only its capture finds none, the pass is called directly
        from then on. A pass that runs out of memory when called raises, and the batch shrinks.
        """
        if not self._is_possible or self._num_runs[key] < _RUNS_BEFORE_CAPTURE:
            return False
        try:
            self._graphs[key] = self._captured(work)
        except RuntimeError as error:
            self._is_possible = False
            _log_graphs_off(type(error).__name__)
        return self._is_possible

    def _captured(self, work: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Without `torch.cuda.graph`, which first waits for the device and empties every cache, the encoder's too.

        Captures this thread only: the encoder's thread keeps launching kernels and allocating memory meanwhile.
        """
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            result = work()
        finally:
            graph.capture_end()
        return graph, result


def launch_on(device: torch.device, slots: int) -> Launch:
    """For a slot batch that has just been given memory for `slots` slots."""
    if device.type != "cuda":
        return direct_launch
    torch.cuda.current_stream().synchronize()  # graphs of the previous memory, freed now, may still be running
    return GraphLaunch() if slots else direct_launch


def _up_to(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


@cache
def _log_graphs_off(reason: str) -> None:
    log.warning("event=graphs_off reason=%s: passes are launched kernel by kernel", reason)
