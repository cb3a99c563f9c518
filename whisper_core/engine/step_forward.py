"""The part of a step that is the same for every token: from the rows' latest tokens to their filtered logits.

On a GPU it is replayed as a CUDA graph, one for each bucket of rows and of cached positions, since launching its
hundreds of small kernels one by one would take longer than running them. Graphs are captured when they are first wanted
and share one memory pool; where capturing fails, the engine goes on without them and says so once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Forward = Callable[[int, int], Tensor]
"""(rows, length) to filtered logits, (at least rows, vocabulary). length: above every row's position."""

_LENGTH_BUCKET = 64  # cached positions; the fused attention also wants its mask in multiples of 8
_WARM_UPS = 2  # lazy initialisation of libraries must not be captured


def bucket_of(rows: int) -> int:
    """The next power of two."""
    return 1 << (rows - 1).bit_length()


class GraphedForward:
    """forward: reads and writes memory that stays in place as long as this object is used.

    most_rows, most_length: of that memory.
    """

    def __init__(self, forward: Forward, most_rows: int, most_length: int) -> None:
        self._forward = forward
        self._most_rows = most_rows
        self._most_length = most_length
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._is_possible = True

    def __call__(self, rows: int, length: int) -> Tensor:
        padded_rows = min(bucket_of(rows), self._most_rows)
        padded_length = min(-(-length // _LENGTH_BUCKET) * _LENGTH_BUCKET, self._most_length)
        key = (padded_rows, padded_length)
        if self._is_possible and key not in self._graphs:
            self._capture(key)
        if not self._is_possible:
            return self._forward(rows, length)
        graph, logits = self._graphs[key]
        graph.replay()
        return logits

    def _capture(self, key: tuple[int, int]) -> None:
        """Warming up runs the step itself, which only writes what the step that follows writes again."""
        try:
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UPS):
                    self._forward(*key)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # The lane's thread goes on launching kernels meanwhile; only this thread is captured.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                logits = self._forward(*key)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._is_possible = False
            log.warning("event=graphs_off reason=%s: steps are launched kernel by kernel", type(error).__name__)
            return
        self._graphs[key] = (graph, logits)
