"""What a model keeps on a GPU: taken when it is loaded, given back for memory's sake only, and taken again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from errors import OutOfMemoryError
from tests.whisper_core.engine.as_on_gpu import as_on_gpu
from tests.whisper_core.engine.driving import (
    GREEDY,
    MODEL,
    OTHER_MODEL,
    Observer,
    advance_until,
    assert_same,
    engine_with,
    expected_of_noise,
    num_rows,
    run_until_idle,
    start_task,
    toy,
    write_samples,
)
from tests.whisper_core.parity import noise
from whisper_core.engine import batch_engine, slot_limit
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.engine.cuda_window_memory import CudaWindowMemory
from whisper_core.engine.decoding import cuda_slots
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_step
from whisper_core.engine.network.dims import DecoderDims

pytestmark = pytest.mark.usefixtures("slow_encoder")

TASKS = 4
SLOTS = 8
AHEAD = 4


@pytest.fixture(autouse=True)
def _on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(batch_engine.ENCODER_BATCH, "cpu", AHEAD)
    with as_on_gpu():
        yield


def start_all(engine: BatchEngine, folder: Path, model: str = MODEL) -> list[Observer]:
    observers = [Observer() for _ in range(TASKS)]
    for number, observer in enumerate(observers):
        path = write_samples(folder / f"{model}-{number}.pcm", noise(seconds_of(number), number))
        start_task(engine, path, GREEDY, observer, model=model)
    return observers


def seconds_of(number: int) -> float:
    return 3.0 + 14 * number


def assert_all_right(observers: list[Observer]) -> None:
    for number, observer in enumerate(observers):
        assert observer.error is None
        assert observer.transcript is not None
        assert_same(observer.transcript, expected_of_noise(seconds_of(number), number))


def memory_of(engine: BatchEngine, model: str = MODEL) -> Any:
    memory = engine._models[model]._memory
    assert isinstance(memory, CudaWindowMemory)
    return memory


def room_for(places: int) -> Callable[[DecoderDims, int], CrossCache]:
    """CrossCache.empty on a device that has no memory for more."""
    empty = CrossCache.empty

    def limited(dims: DecoderDims, slots: int) -> CrossCache:
        if slots > places:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return empty(dims, slots)

    return limited


def test_it_stays_while_the_engine_idles_and_every_place_is_free_again(tmp_path: Path) -> None:
    with engine_with(toy(), slots=SLOTS) as engine:
        kept = memory_of(engine)._kept
        for _ in range(2):
            observers = start_all(engine, tmp_path)
            run_until_idle(engine)
            assert_all_right(observers)
            assert memory_of(engine)._kept is kept
            assert sorted(kept.free) == list(range(SLOTS + AHEAD))
            assert sorted(kept.plain._free) == list(range(SLOTS))


def test_places_of_stopped_and_failed_tasks_are_free_again(tmp_path: Path) -> None:
    with engine_with(toy(), slots=SLOTS) as engine:
        observers = start_all(engine, tmp_path)
        advance_until(engine, lambda: engine._models[MODEL].num_decoding > 1)
        for observer in observers:
            observer.stops_after = 0
        run_until_idle(engine)
        assert all(observer.was_stopped or observer.transcript for observer in observers)
        late = start_all(engine, tmp_path)  # windows that were being encoded are over by now
        run_until_idle(engine)
        assert_all_right(late)
        assert sorted(memory_of(engine)._kept.free) == list(range(SLOTS + AHEAD))


@pytest.mark.parametrize(("places", "slots"), [(SLOTS + AHEAD, 8), (10, 4), (4, 2), (2, 1)])
def test_a_model_is_loaded_with_as_many_slots_as_there_is_room_for(
    places: int, slots: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CrossCache, "empty", room_for(places))
    with engine_with(toy(), slots=SLOTS) as engine:
        assert memory_of(engine).slots == slots
        observers = start_all(engine, tmp_path)
        run_until_idle(engine)
        assert_all_right(observers)
        assert memory_of(engine).slots == slots


def test_a_model_without_room_for_one_window_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CrossCache, "empty", room_for(1))
    with pytest.raises(OutOfMemoryError), engine_with(toy(), slots=SLOTS):
        pass


def test_when_memory_runs_out_fewer_slots_are_kept_and_later_all_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_limit, "CALM_STEPS", 10)
    failures, sizes = iter([True]), []

    def step(*arguments: Any) -> Any:
        if num_rows(*arguments) > 1 and next(failures, False):
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(memory_of(engine).slots)
        return run_step(*arguments)

    with engine_with(toy(), slots=SLOTS) as engine:
        monkeypatch.setattr(cuda_slots, "run_step", step)
        kept = memory_of(engine)._kept
        observers = start_all(engine, tmp_path)
        run_until_idle(engine)
        assert_all_right(observers)
        assert any(observer.notes for observer in observers)
        assert memory_of(engine)._kept is not kept
    assert min(sizes) < SLOTS
    assert sizes[-1] > min(sizes)


def test_it_is_given_up_for_another_model_and_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([True])

    def load(*_: Any) -> Any:
        if next(loads, False):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return toy()

    with engine_with(toy(), slots=SLOTS, also=OTHER_MODEL) as engine:
        monkeypatch.setattr(batch_engine, "load_model", load)
        assert engine.load("small.en", Path()) > 0
        assert memory_of(engine)._kept is memory_of(engine, OTHER_MODEL)._kept is None
        observers = start_all(engine, tmp_path)
        run_until_idle(engine)
        assert_all_right(observers)
        assert memory_of(engine)._kept is not None


def test_a_model_at_work_keeps_it_when_another_needs_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine_with(toy(), slots=SLOTS, also=OTHER_MODEL) as engine:
        observers = start_all(engine, tmp_path)
        advance_until(engine, lambda: engine._models[MODEL].num_decoding > 0)
        kept = memory_of(engine)._kept
        assert engine._models.free_memory_elsewhere()
        assert memory_of(engine)._kept is kept
        assert memory_of(engine, OTHER_MODEL)._kept is None
        run_until_idle(engine)
    assert_all_right(observers)


def test_memory_that_runs_out_while_windows_are_encoded_is_not_taken_before_they_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold on to what was given back, so it would run out again, and so on."""
    failures, empty = iter([True]), CrossCache.empty
    taken: list[weakref.ref[torch.Tensor]] = []

    def step(*arguments: Any) -> Any:
        if num_rows(*arguments) > 1 and engine._models[MODEL].num_encoding and next(failures, False):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run_step(*arguments)

    def one_at_a_time(dims: DecoderDims, slots: int) -> CrossCache:
        if slots > 1 and any(alive() is not None for alive in taken):
            raise torch.OutOfMemoryError("CUDA out of memory")
        cross = empty(dims, slots)
        taken.extend([weakref.ref(cross.keys)] if slots > 1 else [])
        return cross

    monkeypatch.setattr(CrossCache, "empty", one_at_a_time)
    with engine_with(toy(), slots=SLOTS) as engine:
        monkeypatch.setattr(cuda_slots, "run_step", step)
        observers = start_all(engine, tmp_path)
        run_until_idle(engine)
        assert next(failures, None) is None, "it has run out"
        assert memory_of(engine).slots > 1
    assert_all_right(observers)


def test_a_limit_of_windows_encoded_together_that_rises_again_is_obeyed(tmp_path: Path) -> None:
    with engine_with(toy(), slots=SLOTS) as engine:
        runner = engine._models[MODEL]
        runner._limit.shrink(2 * SLOTS)  # half as many of both
        memory_of(engine).release()
        observers = start_all(engine, tmp_path)
        advance_until(engine, lambda: runner.num_decoding > 0)
        assert (memory_of(engine).slots, memory_of(engine).ahead) == (SLOTS // 2, AHEAD // 2)
        runner._limit.reset()
        run_until_idle(engine)
        assert_all_right(observers)
        assert (memory_of(engine).slots, memory_of(engine).ahead) == (SLOTS, AHEAD)


def test_an_unloaded_model_is_gone_although_a_window_of_it_was_being_encoded(tmp_path: Path) -> None:
    with engine_with(toy(), slots=SLOTS) as engine:
        start_all(engine, tmp_path)
        advance_until(engine, lambda: engine._models[MODEL].num_encoding > 0)
        kept = weakref.ref(memory_of(engine)._kept)
        engine.unload(MODEL)
        gc.collect()
        assert kept() is None
        run_until_idle(engine)


def test_what_could_not_be_prepared_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def fail(memory: CudaWindowMemory, run_in_encoder: Any) -> None:
        made.append(weakref.ref(memory._take()))
        raise ValueError("not prepared")

    with engine_with(toy(), slots=SLOTS) as engine:
        monkeypatch.setattr(batch_engine, "load_model", lambda *_: toy())
        monkeypatch.setattr(CudaWindowMemory, "prepare", fail)
        with pytest.raises(ValueError, match="not prepared"):
            engine.load("small.en", Path())
    assert made[0]() is None
