"""How a GPU's passes are launched: captured as CUDA graphs when a model is loaded, and replayed.

Launching the hundreds of small kernels of a pass one by one would take longer than running them. A graph computes with
fixed sizes and addresses, so there is one for each of a few sizes; the surplus lands in rows and positions that nobody
reads. Where capturing fails, the engine runs without graphs and logs that once.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

log = logging.getLogger(__name__)

# From 16 slots on, buckets are 8 or 16 apart: a step reads every slot's keys and values, so powers of two would cost
# much.
_SLOT_BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64)
# The start-of-transcript sequence alone, and with some text before it.
_PROMPT_BUCKETS = (8, 64)
_LONGEST_BEYOND_HALF = 32  # previous text takes up to half of all positions, and that sequence a few
_RUNS_BEFORE_CAPTURE = 2


def slot_buckets(most_slots: int) -> tuple[int, ...]:
    """The numbers of slots that steps are computed with, where there is memory for `most_slots`."""
    return (*(bucket for bucket in _SLOT_BUCKETS if bucket < most_slots), most_slots)


def prompt_buckets(most_positions: int) -> tuple[int, ...]:
    """The lengths that prompts are computed with. most_positions: that there is memory for."""
    longest = min(most_positions // 2 + _LONGEST_BEYOND_HALF, most_positions)
    return (*(bucket for bucket in _PROMPT_BUCKETS if bucket < longest), longest)


class Launch(Protocol):
    """Runs a pass."""

    def __call__(self, key: Hashable, work: Callable[[], Tensor | None]) -> Tensor | None:
        """The result of `work`, valid until the next call.

        key: names the work and its sizes; one key always stands for the same work on the same memory.
        """

    def prepare(self, key: Hashable, work: Callable[[], Tensor | None]) -> None:
        """Run the work and do what makes later calls fast. What it computes must do no harm."""


class GraphLaunch:
    """Calls a pass directly at first, because what libraries do only once must not be captured; then captures it, and
    from then on replays the graph. `prepare` does both at once.

    For memory that stays where it is: make a new one when that is given back. Works on the thread's current CUDA
    stream, which must not be the default one and always be the same one, because cuBLAS has a workspace for each. All
    graphs share a memory pool, which is safe because the result of one is used up before the next is replayed.
    """

    is_possible = True  # for all of them, as far as is known: a failed capture may leave torch's allocator in disorder

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor | None]] = {}
        self._num_runs: Counter[Hashable] = Counter()
        self._has_memory = True  # as far as is known

    def __call__(self, key: Hashable, work: Callable[[], Tensor | None]) -> Tensor | None:
        if key not in self._graphs and not self._try_capture(key, work):
            self._num_runs[key] += 1
            return work()
        graph, result = self._graphs[key]
        graph.replay()
        return result

    def prepare(self, key: Hashable, work: Callable[[], Tensor | None]) -> None:
        """Raises OutOfMemoryError also where only the capture finds none: there is still time to take less."""
        for _ in range(_RUNS_BEFORE_CAPTURE):
            work()
            self._num_runs[key] += 1
        torch.cuda.empty_cache()  # a capture cannot give back what those runs have left behind
        self._try_capture(key, work, may_lack_memory=False)

    def _try_capture(self, key: Hashable, work: Callable[[], Tensor | None], *, may_lack_memory: bool = True) -> bool:
        """Whether there is a graph now.

        A pass that has run before fits into memory: when only its capture finds none, the pass is called directly
        from then on. A pass that runs out of memory when called raises, and the batch shrinks.
        """
        if not (self._has_memory and GraphLaunch.is_possible) or self._num_runs[key] < _RUNS_BEFORE_CAPTURE:
            return False
        try:
            self._graphs[key] = self._captured(work)
        except torch.OutOfMemoryError:
            if not may_lack_memory:
                raise
            self._has_memory = False
            log.warning("event=graphs_off reason=memory: passes that have no graph yet are launched kernel by kernel")
        except RuntimeError as error:
            GraphLaunch.is_possible = False
            name = type(error).__name__
            log.warning("event=graphs_off reason=%s: passes are launched kernel by kernel", name, exc_info=error)
        return key in self._graphs

    def _captured(self, work: Callable[[], Tensor | None]) -> tuple[torch.cuda.CUDAGraph, Tensor | None]:
        """Without `torch.cuda.graph`, which first waits for the device and empties every cache, the encoder's too.

        Captures this thread only: the encoder's thread keeps launching kernels and allocating memory meanwhile.
        """
        graph = torch.cuda.CUDAGraph()
        with _no_collection():
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                result = work()
            finally:
                graph.capture_end()
        return graph, result


@contextmanager
def _no_collection() -> Iterator[None]:
    """A garbage collection might free graphs or events of the device, which a capture does not permit."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def new_launch() -> Launch:
    """For memory that has just been taken."""
    return GraphLaunch()
