"""The part of torch.cuda that the engine's graphs, streams and readbacks use, on the CPU and without delay.

Unlike a real one, a graph runs its work when it is captured; a replay is only counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch


class FakeEvent:
    def __init__(self, stream: FakeStream) -> None:
        self.was_waited_for = False
        self._stream = stream

    def synchronize(self) -> None:
        self.was_waited_for = True
        self._stream.num_waited += 1

    def query(self) -> bool:
        return True


class FakeStream:
    def __init__(self, device: torch.device | None = None, priority: int = 0) -> None:
        self.priority = priority
        self.events: list[FakeEvent] = []
        self.num_used = 0
        self.num_waited = 0  # how often somebody waited for it or for one of its events

    def synchronize(self) -> None:
        self.num_waited += 1

    def record_event(self) -> FakeEvent:
        self.events.append(FakeEvent(self))
        return self.events[-1]


class FakeGraph:
    captured: list[FakeGraph]  # those whose capture has ended

    def __init__(self) -> None:
        self.num_replays = 0
        self.pool: Any = None
        self.capture_error_mode = ""

    def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
        self.pool, self.capture_error_mode = pool, capture_error_mode

    def capture_end(self) -> None:
        FakeGraph.captured.append(self)

    def replay(self) -> None:
        self.num_replays += 1


@contextmanager
def fake_cuda(current: FakeStream | None = None) -> Iterator[FakeStream]:
    """Yields the CUDA stream that is the current one in every thread."""
    current = current or FakeStream()
    FakeGraph.captured = []

    @contextmanager
    def stream(stream: FakeStream) -> Iterator[None]:
        stream.num_used += 1
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "Stream", FakeStream)
        patch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
        patch.setattr(torch.cuda, "current_stream", lambda device=None: current)
        patch.setattr(torch.cuda, "graph_pool_handle", object)
        patch.setattr(torch.cuda, "stream", stream)
        yield current
