"""An executor's thread works ahead; its results come in order, once the device has computed them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from tests.whisper_core.engine.fake_cuda import FakeEvent, FakeStream, fake_cuda
from whisper_core.engine.executors import DECODER_PRIORITY, ENCODER_PRIORITY, CoreShare, SerialExecutor

LIMIT_S = 60.0
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@contextmanager
def executor_on(device: torch.device) -> Iterator[SerialExecutor]:
    executor = SerialExecutor(CoreShare(1), device, "test")
    try:
        yield executor
    finally:
        executor.close()


def wait_for_results(executor: SerialExecutor, taken: list[Any], count: int) -> None:
    for _ in range(count):
        if len(taken) < count:
            executor.wait(LIMIT_S)
            executor.deliver_results()
    assert len(taken) == count


def test_results_come_in_order_in_the_caller_s_thread() -> None:
    taken: list[Any] = []

    def take(future: Future[Any]) -> None:
        taken.append((future.result(), threading.current_thread()))

    with executor_on(CPU) as executor:
        executor.submit(threading.current_thread, take)
        executor.submit(lambda: "second", take)
        assert not executor.has_capacity
        wait_for_results(executor, taken, 2)
        assert executor.is_idle
    (worker, first_taker), second = taken
    assert worker is not threading.current_thread()
    assert first_taker is threading.current_thread()
    assert second == ("second", threading.current_thread())


def test_an_exception_is_the_call_s_result() -> None:
    taken: list[Future[Any]] = []
    with executor_on(CPU) as executor:
        executor.submit(lambda: 1 // 0, taken.append)
        executor.submit(lambda: "fine", taken.append)
        wait_for_results(executor, taken, 2)
    with pytest.raises(ZeroDivisionError):
        taken[0].result()
    assert taken[1].result() == "fine"


def test_on_a_gpu_a_call_is_complete_when_the_device_has_computed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread launches the next one meanwhile."""
    taken: list[Future[Any]] = []
    is_reached = False
    monkeypatch.setattr(FakeEvent, "query", lambda event: is_reached)
    second_was_launched = threading.Event()
    with fake_cuda(), executor_on(CUDA) as executor:
        executor.submit(lambda: "launched", taken.append)
        executor.submit(second_was_launched.set, taken.append)
        assert second_was_launched.wait(LIMIT_S)
        executor.deliver_results()
        assert taken == []
        is_reached = True
        wait_for_results(executor, taken, 2)
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
        with executor_on(CUDA) as executor:
            for _ in range(2):
                executor.submit(lambda: None, taken.append)
            wait_for_results(executor, taken, 2)
    assert used[0] is used[1] is not current
    assert len(used[0].events) == 2, "one behind each call"
    assert used[0].priority == ENCODER_PRIORITY > DECODER_PRIORITY
