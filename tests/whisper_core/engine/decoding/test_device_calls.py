"""How often the host calls a GPU: each operation outside a graph is a launch, each replay of a graph is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.whisper_core.engine.decoding.test_slot_batch import sequence, slot_batch
from tests.whisper_core.engine.fake_cuda import FakeStream, fake_cuda
from whisper_core.engine.decoding import slot_batch as slot_batches
from whisper_core.engine.decoding.cuda_graphs import PassSizes
from whisper_core.engine.decoding.finished_rows import LaggedReadback

MOST_CALLS_OF_A_STEP = 3
MOST_CALLS_OF_A_START = 8
HOST_ONLY = {"aten::lift_fresh", "aten::detach"}  # a tensor made of Python's numbers


class CallCounter(TorchDispatchMode):
    """Counts by name. Views call nothing, and what a launch does is in its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self._is_in_graph = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func._schema.returns
        is_view = any(each.alias_info is not None and not each.alias_info.is_write for each in returned)
        if not self._is_in_graph and not is_view and func._schema.name not in HOST_ONLY:
            self.calls[func._schema.name] += 1
        return func(*args, **(kwargs or {}))

    def launch(self, key: Any, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        """See cuda_graphs.Launch."""
        self.calls["replay"] += 1
        self._is_in_graph = True
        try:
            return work()
        finally:
            self._is_in_graph = False


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> CallCounter:
    counter = CallCounter()
    monkeypatch.setattr(slot_batches, "launch_on", lambda device, slots: counter.launch)
    return counter


@pytest.fixture(autouse=True)
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStream]:
    monkeypatch.setattr(
        slot_batches, "PassSizes", lambda slots, positions, has_buckets: PassSizes(slots, positions, True)
    )
    monkeypatch.setattr(slot_batches, "readback_for", lambda device: LaggedReadback())
    with fake_cuda() as current:
        yield current


def test_a_step_is_a_graph_and_a_copy_of_the_rows(counter: CallCounter, stream: FakeStream) -> None:
    batch = slot_batch()
    for number in (0, 1, 4):  # at temperature 0
        batch.add(sequence(number))
    for _ in range(3):
        batch.step()
    stream.events.clear()
    with counter:
        counter.calls.clear()
        batch.step()
    assert counter.calls == {"replay": 1, "aten::copy_": 1}
    assert counter.calls.total() + len(stream.events) <= MOST_CALLS_OF_A_STEP
    assert len(stream.events) == 1, "the only one that a round waits for"


def test_a_window_starts_with_few_calls(counter: CallCounter) -> None:
    batch = slot_batch()
    batch.add(sequence(0))
    following = sequence(1)
    with counter:
        counter.calls.clear()
        batch.replace(batch.sequences[0], following)
    assert counter.calls["replay"] == 1
    assert counter.calls.total() <= MOST_CALLS_OF_A_START, counter.calls
