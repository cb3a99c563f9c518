"""The lane's thread works ahead; its results come in order, when the device is done with them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from tests.whisper_core.engine.fake_cuda import FakeEvent, FakeStream, fake_cuda
from whisper_core.engine.executors import Lane
from whisper_core.engine.streams import DECODER_PRIORITY, ENCODER_PRIORITY
from whisper_core.engine.threads import ThreadBudget

LIMIT_S = 20.0
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@contextmanager
def lane_on(device: torch.device) -> Iterator[Lane]:
    lane = Lane(ThreadBudget(1), device)
    try:
        yield lane
    finally:
        lane.close()


def wait_and_finish(lane: Lane, taken: list[Any], count: int) -> None:
    for _ in range(count):
        if len(taken) < count:
            lane.wait(LIMIT_S)
            lane.finish()
    assert len(taken) == count


def test_results_come_in_order_in_the_caller_s_thread() -> None:
    taken: list[Any] = []

    def take(future: Future[Any]) -> None:
        taken.append((future.result(), threading.current_thread()))

    with lane_on(CPU) as lane:
        lane.submit(threading.current_thread, take)
        lane.submit(lambda: "second", take)
        assert not lane.is_free
        wait_and_finish(lane, taken, 2)
        assert lane.is_idle
    (worker, first_taker), second = taken
    assert worker is not threading.current_thread()
    assert first_taker is threading.current_thread()
    assert second == ("second", threading.current_thread())


def test_an_exception_is_the_piece_s_result() -> None:
    taken: list[Future[Any]] = []
    with lane_on(CPU) as lane:
        lane.submit(lambda: 1 // 0, taken.append)
        lane.submit(lambda: "fine", taken.append)
        wait_and_finish(lane, taken, 2)
    with pytest.raises(ZeroDivisionError):
        taken[0].result()
    assert taken[1].result() == "fine"


def test_on_a_gpu_a_piece_has_ended_when_the_device_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread launches the next one meanwhile."""
    taken: list[Future[Any]] = []
    is_reached = False
    monkeypatch.setattr(FakeEvent, "query", lambda event: is_reached)
    second_was_launched = threading.Event()
    with fake_cuda(), lane_on(CUDA) as lane:
        lane.submit(lambda: "launched", taken.append)
        lane.submit(second_was_launched.set, taken.append)
        assert second_was_launched.wait(LIMIT_S)
        lane.finish()
        assert taken == []
        is_reached = True
        wait_and_finish(lane, taken, 2)
    assert taken[0].result() == "launched"


def test_on_a_gpu_it_works_on_a_stream_of_its_own() -> None:
    used: list[FakeStream] = []

    @contextmanager
    def stream(stream: FakeStream) -> Iterator[None]:
        used.append(stream)
        yield

    taken: list[Future[Any]] = []
    with fake_cuda() as current, pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "stream", stream)
        with lane_on(CUDA) as lane:
            for _ in range(2):
                lane.submit(lambda: None, taken.append)
            wait_and_finish(lane, taken, 2)
    assert used[0] is used[1] is not current
    assert len(used[0].events) == 2, "one behind each piece"
    assert used[0].priority == ENCODER_PRIORITY > DECODER_PRIORITY
