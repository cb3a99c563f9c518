"""What happens around the decoding: tasks arrive and end, are stopped, fail, run out of memory, resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from errors import DeviceLostError, EngineError, OutOfMemoryError, SourceMissingError
from tests.whisper_core.engine.driving import (
    CHUNKED,
    GREEDY,
    MODEL,
    Observer,
    assert_same,
    engine_with,
    expected_of_noise,
    num_rows,
    run_until_idle,
    start_task,
    toy,
    write_samples,
)
from tests.whisper_core.engine.test_preemption import five_chunks
from tests.whisper_core.parity import RATE, noise
from whisper_core.audio.log_mel import LogMel
from whisper_core.engine import batch_engine
from whisper_core.engine.active_task import ActiveStream, ActiveTask
from whisper_core.engine.decoding import cpu_slots
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.decoder import run_step
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript
from whisper_core.worker.memory_meter import CpuMeter
from whisper_core.worker.messages import RunTask


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Six recordings of one to three windows."""
    return [write_samples(tmp_path / f"{number}.pcm", noise(seconds_of(number), number)) for number in range(6)]


def seconds_of(number: int) -> float:
    return 3.0 + 7 * number


def expected_of(number: int) -> Transcript:
    return expected_of_noise(seconds_of(number), number)


def test_tasks_join_while_others_run(paths: list[Path]) -> None:
    observers = [Observer() for _ in paths]
    with engine_with(toy(), slots=3) as engine:
        start_task(engine, paths[0], GREEDY, observers[0])
        begun, rounds = 1, 0
        while engine.is_busy or begun < len(paths):
            engine.advance()
            rounds += 1
            if rounds % 5 == 0 and begun < len(paths):
                start_task(engine, paths[begun], GREEDY, observers[begun])
                begun += 1
    for number, observer in enumerate(observers):
        assert observer.transcript is not None
        assert_same(observer.transcript, expected_of(number))
        assert [s for window in observer.windows for s in window.segments] == list(observer.transcript.segments)
        assert observer.peak_bytes >= 0


def test_an_exact_task_is_asked_for_its_only_stream_once(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ActiveTask] = []
    start_stream = ActiveTask.start_stream

    def noted(task: ActiveTask) -> ActiveStream | None:
        asked.append(task)
        return start_stream(task)

    monkeypatch.setattr(ActiveTask, "start_stream", noted)
    with engine_with(toy(), slots=len(paths) + 1) as engine:  # so that there is always room for another stream
        for path in paths:
            start_task(engine, path, GREEDY, Observer())
        run_until_idle(engine)
    assert len(asked) == len(set(map(id, asked))) == len(paths)


def test_a_stopped_task_leaves_the_others_as_they_are(paths: list[Path]) -> None:
    observers = [Observer(stops_after=1 if number % 2 else None) for number in range(6)]
    with engine_with(toy()) as engine:
        for path, observer in zip(paths, observers, strict=True):
            start_task(engine, path, GREEDY, observer)
        run_until_idle(engine)
    assert [observer.was_stopped for observer in observers] == [False, True] * 3
    for number in (0, 2, 4):
        transcript = observers[number].transcript
        assert transcript is not None
        assert_same(transcript, expected_of(number))


def test_a_task_may_be_stopped_before_anything_happened(paths: list[Path]) -> None:
    observer = Observer(stops_after=0)
    with engine_with(toy()) as engine:
        start_task(engine, paths[5], GREEDY, observer)
        run_until_idle(engine)
    assert observer.was_stopped
    assert observer.windows == []


def test_a_stopped_task_goes_on_from_its_last_window(paths: list[Path]) -> None:
    first, second = Observer(stops_after=1), Observer()
    with engine_with(toy()) as engine:
        start_task(engine, paths[5], GREEDY, first)
        run_until_idle(engine)
        window = first.windows[-1]
        resumed = RunTask("a", "b", MODEL, str(paths[5]), GREEDY, window.checkpoint, window.segments, 1)
        engine.start(resumed, second)
        run_until_idle(engine)
    assert second.transcript is not None
    assert_same(second.transcript, expected_of(5))
    assert [window.index for window in second.windows] == list(range(1, len(second.windows) + 1))


def test_a_missing_recording_fails_alone(paths: list[Path], tmp_path: Path) -> None:
    missing, there = Observer(), Observer()
    with engine_with(toy()) as engine:
        start_task(engine, tmp_path / "none.pcm", GREEDY, missing)
        start_task(engine, paths[0], GREEDY, there)
        run_until_idle(engine)
    assert isinstance(missing.error, SourceMissingError)
    assert there.transcript is not None


def test_a_language_that_the_model_lacks_fails_alone(paths: list[Path]) -> None:
    lacking, there = Observer(), Observer()
    with engine_with(toy()) as engine:
        start_task(engine, paths[0], TranscribeOptions(language="yue"), lacking)
        start_task(engine, paths[0], GREEDY, there)
        run_until_idle(engine)
    assert isinstance(lacking.error, EngineError)
    assert there.transcript is not None


def test_a_task_for_a_model_that_is_not_loaded_fails(paths: list[Path]) -> None:
    observer = Observer()
    with engine_with(toy()) as engine:
        engine.start(RunTask("a", "b", "base", str(paths[0]), GREEDY), observer)
        assert not engine.is_busy
    assert isinstance(observer.error, EngineError)


def fail_above(limit: int, real: Callable[..., Any], error: type[Exception]) -> Callable[..., Any]:
    """run_step as it is on a device that has memory for `limit` rows."""

    def run_step(*arguments: Any) -> Any:
        if num_rows(*arguments) > limit:
            raise error("CUDA out of memory")
        return real(*arguments)

    return run_step


def test_a_window_that_never_fits_fails_its_task(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    observers = [Observer(), Observer()]
    with engine_with(toy()) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(cpu_slots, "run_step", fail_above(0, run_step, torch.OutOfMemoryError))
            start_task(engine, paths[0], GREEDY, observers[0])
            run_until_idle(engine)
        start_task(engine, paths[0], GREEDY, observers[1])
        run_until_idle(engine)
    assert isinstance(observers[0].error, OutOfMemoryError)
    assert observers[1].transcript is not None
    assert_same(observers[1].transcript, expected_of(0))


def test_a_lost_device_fails_all_tasks_and_ends_the_engine(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def run_step(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(cpu_slots, "run_step", run_step)
    observers = [Observer(), Observer()]
    with engine_with(toy()) as engine:
        for observer in observers:
            start_task(engine, paths[0], GREEDY, observer)
        with pytest.raises(DeviceLostError):
            run_until_idle(engine)
    assert all(isinstance(observer.error, DeviceLostError) for observer in observers)


def test_a_device_lost_while_a_result_is_read_ends_the_engine(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU's errors are raised wherever the host waits for it next."""

    def result(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Sequence, "result", result)
    observer = Observer()
    with engine_with(toy()) as engine:
        start_task(engine, paths[0], GREEDY, observer)
        with pytest.raises(DeviceLostError):
            run_until_idle(engine)
    assert isinstance(observer.error, DeviceLostError)


def test_a_device_lost_while_a_model_is_loaded_ends_the_engine(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_model(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    observer = Observer()
    with engine_with(toy()) as engine:
        start_task(engine, paths[0], GREEDY, observer)
        engine.advance()
        monkeypatch.setattr(batch_engine, "load_model", load_model)
        with pytest.raises(DeviceLostError):
            engine.load("base", Path())
    assert isinstance(observer.error, DeviceLostError)


@pytest.mark.usefixtures("slow_encoder")
@pytest.mark.parametrize("error", [ValueError, torch.OutOfMemoryError])
def test_what_fails_for_a_stopped_task_harms_nobody(
    error: type[Exception], paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its window is being encoded when it is stopped, while another task's only window is in a slot."""

    def normalised(*_: Any) -> None:
        raise error("out of memory")

    stopped, other = Observer(), Observer()
    with engine_with(toy()) as engine:
        start_task(engine, paths[0], GREEDY, other)
        start_task(engine, paths[1], GREEDY, stopped)
        while not engine.statistics.steps:
            engine.advance()
        stopped.stops_after = 0
        with monkeypatch.context() as patch:
            patch.setattr(LogMel, "normalised", normalised)
            engine.advance()
        assert stopped.was_stopped
        assert not other.is_done
        run_until_idle(engine)
    assert other.transcript is not None
    assert_same(other.transcript, expected_of(0))


def test_any_other_error_ends_the_tasks_that_were_decoding(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    observers = [Observer(), Observer()]
    with engine_with(toy()) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(cpu_slots, "run_step", fail_above(0, run_step, ValueError))
            start_task(engine, paths[0], GREEDY, observers[0])
            run_until_idle(engine)
        start_task(engine, paths[0], GREEDY, observers[1])
        run_until_idle(engine)
    assert isinstance(observers[0].error, ValueError)
    assert observers[1].transcript is not None


def test_chunks_of_a_vad_task_fill_the_slots(paths: list[Path]) -> None:
    exact, chunked = Observer(), Observer()
    with engine_with(toy()) as engine:
        start_task(engine, paths[5], TranscribeOptions(language="en", temperature=0.0, mode="vad"), chunked)
        start_task(engine, paths[1], GREEDY, exact)
        run_until_idle(engine)
    assert chunked.transcript is not None
    assert exact.transcript is not None
    assert_same(exact.transcript, expected_of(1))


def test_nothing_waits_for_the_encoder_once_the_last_task_has_failed(
    tmp_path: Path, loud_scan: None, slow_encoder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no prompt")

    observer, waiting = Observer(), [0]
    monkeypatch.setattr(LoadedModel, "sequence", fail)
    with engine_with(toy()) as engine:
        runner = engine._models[MODEL]
        start_task(engine, write_samples(tmp_path / "chunks.pcm", five_chunks()), CHUNKED, observer)
        run_until_idle(engine, lambda: waiting.append(runner.num_to_encode))
    assert isinstance(observer.error, ValueError)
    assert max(waiting) > 0
    assert waiting[-1] == 0


def test_a_task_for_an_unloaded_model_fails(paths: list[Path]) -> None:
    observer = Observer()
    with engine_with(toy()) as engine:
        assert engine.load(MODEL, Path()) == 0
        engine.unload(MODEL)
        start_task(engine, paths[0], GREEDY, observer)
    assert isinstance(observer.error, EngineError)


def test_the_tasks_of_an_unloaded_model_fail(paths: list[Path]) -> None:
    waiting, decoding, other = Observer(), Observer(), Observer()
    with engine_with(toy(), also="base.en") as engine:
        start_task(engine, paths[5], GREEDY, decoding)
        engine.start(RunTask("other", "other", "base.en", str(paths[0]), GREEDY), other)
        while not decoding.windows:
            engine.advance()
        start_task(engine, paths[0], GREEDY, waiting)
        engine.unload(MODEL)
        run_until_idle(engine)
    assert isinstance(waiting.error, EngineError)
    assert isinstance(decoding.error, EngineError)
    assert other.transcript is not None


def test_silence_in_a_language_that_the_model_lacks_fails_alone(paths: list[Path], tmp_path: Path) -> None:
    lacking, there = Observer(), Observer()
    silence = write_samples(tmp_path / "silence.pcm", np.zeros(5 * RATE, np.int16))
    with engine_with(toy()) as engine:
        start_task(engine, silence, TranscribeOptions(language="yue", mode="vad"), lacking)
        start_task(engine, paths[0], GREEDY, there)
        run_until_idle(engine)
    assert isinstance(lacking.error, EngineError)
    assert there.transcript is not None


def test_memory_is_not_measured_where_models_mix(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuMeter, "peak_since_mark", lambda self: 1_000)
    alone, first, second = Observer(), Observer(), Observer()
    with engine_with(toy(), also="base.en") as engine:
        start_task(engine, paths[0], GREEDY, alone)
        run_until_idle(engine)
        start_task(engine, paths[0], GREEDY, first)
        engine.start(RunTask("second", "second", "base.en", str(paths[0]), GREEDY), second)
        run_until_idle(engine)
    assert (alone.peak_bytes, first.peak_bytes, second.peak_bytes) == (1_000, 0, 0)
