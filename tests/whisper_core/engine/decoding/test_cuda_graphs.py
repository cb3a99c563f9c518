"""Passes are captured once for each size and replayed; where that fails they are called directly, and it is logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.whisper_core.engine.fake_cuda import FakeGraph, fake_cuda
from whisper_core.engine.decoding.cuda_graphs import GraphLaunch, prompt_buckets, slot_buckets


@pytest.fixture(autouse=True)
def _cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(GraphLaunch, "is_possible", True)
    with fake_cuda():
        yield


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


def test_steps_have_few_sizes_up_to_all_slots() -> None:
    assert slot_buckets(64) == (1, 2, 4, 8, 16, 24, 32, 48, 64)
    assert slot_buckets(5) == (1, 2, 4, 5)
    assert slot_buckets(1) == (1,)


def test_prompts_have_few_lengths_within_the_memory() -> None:
    assert prompt_buckets(448) == (8, 64, 256)
    assert prompt_buckets(1024) == (8, 64, 544)
    assert prompt_buckets(40) == (8, 40)
    assert prompt_buckets(6) == (6,)


def test_a_pass_that_was_prepared_is_replayed_from_the_first_call_on() -> None:
    launch, work = GraphLaunch(), Work()
    launch.prepare("a", work)
    assert launched(launch, "a", work, 3) == [3, 3, 3]
    (graph,) = FakeGraph.captured
    assert graph.num_replays == 3


def launched(launch: GraphLaunch, key: str, work: Work, times: int) -> list[int]:
    results = [launch(key, work) for _ in range(times)]
    return [int(result) for result in results if result is not None]


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


@pytest.mark.parametrize("error", [RuntimeError, torch.AcceleratorError])
def test_without_a_capture_every_pass_is_called_directly(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    launch, failing, other = GraphLaunch(), Work(3, error=error), Work()
    with caplog.at_level(logging.WARNING):
        assert launched(launch, "a", failing, 4) == [1, 2, 4, 5]
        assert launched(launch, "b", other, 4) == [1, 2, 3, 4], "nothing else is tried either"
    assert launched(GraphLaunch(), "c", Work(), 4) == [1, 2, 3, 4], "nor by others"
    assert warnings_in(caplog) == [f"event=graphs_off reason={error.__name__}: passes are launched kernel by kernel"]
    (graph,) = FakeGraph.captured
    assert graph.num_replays == 0, "its capture was ended, though"


def test_graphs_that_were_captured_before_are_still_replayed() -> None:
    launch, good = GraphLaunch(), Work()
    launched(launch, "good", good, 3)
    launched(launch, "bad", Work(3), 3)
    launched(launch, "good", good, 1)
    assert FakeGraph.captured[0].num_replays == 2


def test_a_capture_that_finds_no_memory_leaves_others_their_graphs(caplog: pytest.LogCaptureFixture) -> None:
    launch, failing, other = GraphLaunch(), Work(3, error=torch.OutOfMemoryError), Work()
    with caplog.at_level(logging.WARNING):
        assert launched(launch, "a", failing, 4) == [1, 2, 4, 5]
        assert launched(launch, "b", other, 4) == [1, 2, 3, 4], "not in the same memory"
    assert warnings_in(caplog) == [
        "event=graphs_off reason=memory: passes that have no graph yet are launched kernel by kernel"
    ]
    assert launched(GraphLaunch(), "a", Work(), 4) == [1, 2, 3, 3]


def test_while_it_is_prepared_a_pass_may_not_lack_memory() -> None:
    """Less can still be taken then."""
    with pytest.raises(torch.OutOfMemoryError):
        GraphLaunch().prepare("a", Work(3, error=torch.OutOfMemoryError))


def test_missing_graphs_are_logged_once_for_all_slot_batches(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for work in (Work(3), Work(), Work()):
            launched(GraphLaunch(), "a", work, 3)
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
