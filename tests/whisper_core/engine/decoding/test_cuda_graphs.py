"""Passes are captured once for each size and replayed; where that fails they are called directly, and it is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.whisper_core.engine.fake_cuda import FakeGraph, fake_cuda
from whisper_core.engine.decoding import cuda_graphs
from whisper_core.engine.decoding.cuda_graphs import GraphLaunch, PassSizes, direct_launch, launch_on


@pytest.fixture(autouse=True)
def _cuda() -> Iterator[None]:
    cuda_graphs._log_graphs_off.cache_clear()
    with fake_cuda():
        yield
    cuda_graphs._log_graphs_off.cache_clear()


class Work:
    """Counts its runs; fails in those whose numbers are in `fails_at`."""

    def __init__(self, *fails_at: int, error: type[Exception] = RuntimeError) -> None:
        self.num_runs = 0
        self._fails_at = fails_at
        self._error = error

    def __call__(self) -> Tensor:
        self.num_runs += 1
        if self.num_runs in self._fails_at:
            raise self._error("operation not permitted when stream is capturing")
        return torch.tensor(self.num_runs)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("slots", "bucket"), [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (16, 16), (17, 32), (33, 48), (49, 64), (64, 64)]
)
def test_slots_are_rounded_up(slots: int, bucket: int) -> None:
    assert PassSizes(64, 448, has_buckets=True).slots(slots) == bucket
    assert PassSizes(64, 448, has_buckets=False).slots(slots) == slots


def test_no_bucket_is_larger_than_the_memory() -> None:
    sizes = PassSizes(5, 40, has_buckets=True)
    assert (sizes.slots(5), sizes.positions(7), sizes.prompt(33)) == (5, 40, 40)


@pytest.mark.parametrize(("length", "bucket"), [(1, 128), (128, 128), (129, 256), (385, 448), (449, 448)])
def test_cached_positions_are_rounded_up(length: int, bucket: int) -> None:
    assert PassSizes(64, 448, has_buckets=True).positions(length) == bucket


@pytest.mark.parametrize(("length", "bucket"), [(3, 8), (8, 8), (9, 32), (65, 128), (227, 256), (300, 448)])
def test_prompts_are_rounded_up(length: int, bucket: int) -> None:
    assert PassSizes(64, 448, has_buckets=True).prompt(length) == bucket


@pytest.mark.parametrize("has_buckets", [True, False])
def test_positions_never_pass_the_last(has_buckets: bool) -> None:
    assert PassSizes(1, 448, has_buckets).positions(451) == 448


def test_the_cpu_captures_nothing() -> None:
    assert launch_on(torch.device("cpu"), 8) is direct_launch
    assert launch_on(torch.device("cuda"), 0) is direct_launch
    assert isinstance(launch_on(torch.device("cuda"), 8), GraphLaunch)


def launched(launch: GraphLaunch, key: str, work: Work, times: int) -> list[int]:
    return [int(launch(key, work)) for _ in range(times)]


def test_a_pass_runs_twice_is_captured_once_and_replayed() -> None:
    launch, work = GraphLaunch(), Work()
    assert launched(launch, "a", work, 5) == [1, 2, 3, 3, 3], "a graph's result stays where it is"
    (graph,) = FakeGraph.captured
    assert graph.num_replays == 3
    assert graph.capture_error_mode == "thread_local"


def test_graphs_of_different_sizes_share_their_pool() -> None:
    launch = GraphLaunch()
    for key in "ab":
        launched(launch, key, Work(), 3)
    first, second = FakeGraph.captured
    assert first.pool is second.pool
    assert (first.num_replays, second.num_replays) == (1, 1)


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError, torch.AcceleratorError])
def test_without_a_capture_every_pass_is_called_directly(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    launch, failing, other = GraphLaunch(), Work(3, error=error), Work()
    with caplog.at_level(logging.WARNING):
        assert launched(launch, "a", failing, 4) == [1, 2, 4, 5]
        assert launched(launch, "b", other, 4) == [1, 2, 3, 4], "nothing else is tried either"
    assert warnings_in(caplog) == [f"event=graphs_off reason={error.__name__}: passes are launched kernel by kernel"]
    (graph,) = FakeGraph.captured
    assert graph.num_replays == 0, "its capture was ended, though"


def test_graphs_that_were_captured_before_are_still_replayed() -> None:
    launch, good = GraphLaunch(), Work()
    launched(launch, "good", good, 3)
    launched(launch, "bad", Work(3), 3)
    launched(launch, "good", good, 1)
    assert FakeGraph.captured[0].num_replays == 2


def test_missing_graphs_are_logged_once_for_all_slot_batches(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            launched(GraphLaunch(), "a", Work(3), 3)
    assert len(warnings_in(caplog)) == 1


def test_a_pass_that_finds_no_memory_to_run_fails() -> None:
    """So that the batch shrinks, which giving up the graph would not bring about."""
    launch = GraphLaunch()
    with pytest.raises(torch.OutOfMemoryError):
        launch("a", Work(1, error=torch.OutOfMemoryError))
    assert FakeGraph.captured == []


def test_a_capture_that_cannot_even_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def capture_end(graph: Any) -> None:
        raise RuntimeError("capture was invalidated")

    monkeypatch.setattr(FakeGraph, "capture_end", capture_end)
    work = Work(3, error=torch.OutOfMemoryError)
    assert launched(GraphLaunch(), "a", work, 3) == [1, 2, 4]
