"""How often the host calls a GPU while recordings are transcribed; nothing is captured or taken after a load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.whisper_core.engine.as_on_gpu import as_on_gpu
from tests.whisper_core.engine.counting_device import CountingDevice
from tests.whisper_core.engine.driving import (
    GREEDY,
    MODEL,
    Observer,
    SlowExecutor,
    engine_with,
    run_until_idle,
    start_task,
    toy,
    write_samples,
)
from tests.whisper_core.engine.fake_cuda import FakeStream
from tests.whisper_core.parity import noise
from whisper_core.engine import batch_engine
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.engine.decoding.cuda_slots import CudaSlots
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.text.options import TranscribeOptions

TASKS = 5
MOST_CALLS_OF_A_STEP = 3
MOST_CALLS_OF_A_START = 8
SAMPLED = TranscribeOptions(language="en", temperature=0.5)


@pytest.fixture
def device() -> CountingDevice:
    return CountingDevice()


@pytest.fixture
def stream(device: CountingDevice) -> Iterator[FakeStream]:
    with as_on_gpu(lambda: device) as stream:
        yield stream


@pytest.fixture
def engine(stream: FakeStream, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchEngine]:
    """Its encoder works in the engine's own thread, where it can be counted."""
    monkeypatch.setitem(batch_engine.ENCODER_BATCH, "cpu", 8)
    monkeypatch.setattr(batch_engine, "SerialExecutor", SlowExecutor)
    with engine_with(toy(), slots=8) as engine:
        yield engine


def slots_of(engine: BatchEngine) -> CudaSlots:
    batch = engine._models[MODEL]._memory.slot_batch(SlotKind())
    assert isinstance(batch, CudaSlots)
    return batch


def test_passes_are_captured_when_the_model_is_loaded_and_never_again(
    engine: BatchEngine, device: CountingDevice, tmp_path: Path
) -> None:
    observers = [Observer() for _ in range(TASKS)]
    for busy_period in range(2):  # the engine idles in between, and keeps everything
        kept = engine._models[MODEL]._memory.slot_batch(SlotKind())
        for number, observer in enumerate(observers):
            path = write_samples(tmp_path / f"{busy_period}-{number}.pcm", noise(5.0 + 13 * number, number))
            start_task(engine, path, GREEDY if number else SAMPLED, observer)
        run_until_idle(engine)
        assert all(observer.error is None for observer in observers)
        observers = [Observer() for _ in range(TASKS)]
        assert engine._models[MODEL]._memory.slot_batch(SlotKind()) is kept
    assert device.captures == []


def test_a_step_is_a_graph_and_a_copy_and_one_wait(
    engine: BatchEngine, device: CountingDevice, stream: FakeStream, tmp_path: Path
) -> None:
    for number in range(TASKS):
        start_task(engine, write_samples(tmp_path / f"{number}.pcm", noise(9.0, number)), GREEDY, Observer())
    slots, runner = slots_of(engine), engine._models[MODEL]
    while len(slots.sequences) < TASKS or slots.prompts_to_read():
        engine.advance()
    with torch.inference_mode():
        runner.step()
        stream.events.clear()
        waited_before = stream.num_waited
        with device:
            device.calls.clear()
            runner.step()
    assert device.calls == {"replay": 1, "aten::copy_": 1}
    assert device.calls.total() + len(stream.events) <= MOST_CALLS_OF_A_STEP
    assert stream.num_waited - waited_before == 1
    assert device.taken == 0
    run_until_idle(engine)


def test_windows_start_with_few_calls_however_many_they_are(
    engine: BatchEngine, device: CountingDevice, tmp_path: Path
) -> None:
    for number in range(4):
        start_task(engine, write_samples(tmp_path / f"{number}.pcm", noise(9.0, number)), GREEDY, Observer())
    slots, runner = slots_of(engine), engine._models[MODEL]
    while runner.num_in_flight < 4 or runner.num_encoding:
        engine._encoder_executor.deliver_results()
        engine._open_executor.deliver_results()
        engine._start_streams()
        engine._feed_executors()
    with torch.inference_mode(), device:
        device.calls.clear()
        runner.fill_free_slots()
    assert len(slots.sequences) == 4
    assert device.calls == {"replay": 1, "aten::copy_": 1}, "four prompts of one length"
    assert device.calls.total() <= MOST_CALLS_OF_A_START
    assert device.taken == 0
    run_until_idle(engine)
