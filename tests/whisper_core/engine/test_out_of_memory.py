"""What the engine tries before a task fails for lack of memory: a smaller batch, then memory that others free."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from errors import OutOfMemoryError
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
from whisper_core.audio.log_mel import LogMel
from whisper_core.engine import batch_engine, slot_limit
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.engine.decoding import cpu_slots
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.decoder import run_step
from whisper_core.engine.network.encoder import WindowEncoder
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript
from whisper_core.worker.messages import RunTask

pytestmark = pytest.mark.usefixtures("slow_encoder")

WORDS = replace(GREEDY, word_timestamps=True)
DETECTED = replace(GREEDY, language=None)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write_samples(tmp_path / f"{number}.pcm", noise(seconds_of(number), number)) for number in range(4)]


def seconds_of(number: int) -> float:
    return 3.0 + 14 * number


def expected_of(number: int, options: TranscribeOptions = GREEDY) -> Transcript:
    return expected_of_noise(seconds_of(number), number, options)


def assert_all_right(observers: list[Observer], options: TranscribeOptions = GREEDY) -> None:
    for number, observer in enumerate(observers):
        assert observer.error is None
        assert observer.transcript is not None
        assert_same(observer.transcript, expected_of(number, options))


def start_other(engine: BatchEngine, path: Path, observer: Observer) -> None:
    name = f"other-{id(observer)}"
    engine.start(RunTask(name, name, OTHER_MODEL, str(path), GREEDY), observer)


def fail_while(is_short: Callable[..., bool], real: Callable[..., Any]) -> Callable[..., Any]:
    """`real` on a device that is out of memory while `is_short` returns True for the call's arguments."""

    def work(*arguments: Any, **named: Any) -> Any:
        if is_short(*arguments):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments, **named)

    return work


def first(times: int) -> Callable[..., bool]:
    calls = iter(range(1_000_000))
    return lambda *_: next(calls) < times


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_batch_that_shrinks_fails_nobody_and_tells_its_tasks(
    limit: int, paths: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    short = fail_while(lambda *arguments: num_rows(*arguments) > limit, run_step)
    monkeypatch.setattr(cpu_slots, "run_step", short)
    observers = [Observer() for _ in paths]
    with engine_with(toy()) as engine, caplog.at_level(logging.WARNING):
        for path, observer in zip(paths, observers, strict=True):
            start_task(engine, path, GREEDY, observer)
        run_until_idle(engine)
    assert_all_right(observers)
    code, data = next(note for observer in observers for note in observer.notes)
    assert code == "memory"
    assert data["step"] == "batch_shrunk"
    assert int(data["windows"]) // 2 == data["slots"]
    assert "event=batch_shrunk" in caplog.text


def test_an_encoder_without_memory_is_tried_again_with_less_beside_it(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    observers = [Observer() for _ in paths]
    with engine_with(toy()) as engine:
        for path, observer in zip(paths, observers, strict=True):
            start_task(engine, path, GREEDY, observer)
        advance_until(engine, lambda: engine._models[MODEL].num_decoding == 1)
        monkeypatch.setattr(WindowEncoder, "encode", fail_while(first(1), WindowEncoder.encode))
        run_until_idle(engine)
    assert_all_right(observers)
    assert any(observer.notes for observer in observers)


def test_a_lone_window_that_cannot_be_encoded_fails_its_task_alone(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WindowEncoder, "encode", fail_while(first(1), WindowEncoder.encode))
    lone, later = Observer(), Observer()
    with engine_with(toy()) as engine:
        for observer in (lone, later):
            start_task(engine, paths[0], GREEDY, observer)
            run_until_idle(engine)
    assert isinstance(lone.error, OutOfMemoryError)
    assert_all_right([later])


def test_after_a_while_without_trouble_more_windows_run_together_again(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_limit, "CALM_STEPS", 5)
    is_short = first(1)
    rows: list[int] = []

    def remembered(*arguments: Any) -> bool:
        rows.append(num_rows(*arguments))
        return rows[-1] == 4 and is_short()

    monkeypatch.setattr(cpu_slots, "run_step", fail_while(remembered, run_step))
    observers = [Observer() for _ in range(4)]
    with engine_with(toy()) as engine:
        for observer in observers:
            start_task(engine, paths[3], GREEDY, observer)
        run_until_idle(engine)
    assert [observer.error for observer in observers] == [None] * 4
    shrunk = rows.index(4)
    assert rows[shrunk + 1] < 4
    assert 4 in rows[shrunk + 1 :]


@pytest.mark.parametrize(("options", "request_name"), [(WORDS, "align"), (DETECTED, "detect_language")])
def test_a_request_beside_the_decoding_is_made_again_in_a_smaller_batch(
    options: TranscribeOptions, request_name: str, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    short, others = Observer(), [Observer() for _ in paths[1:]]
    with engine_with(toy()) as engine:
        for path, observer in zip(paths[1:], others, strict=True):
            start_task(engine, path, GREEDY, observer)
        advance_until(engine, lambda: engine._models[MODEL].num_decoding > 1)
        monkeypatch.setattr(LoadedModel, request_name, fail_while(first(1), getattr(LoadedModel, request_name)))
        start_task(engine, paths[0], options, short)
        run_until_idle(engine)
    for number, observer in enumerate([short, *others]):
        assert observer.transcript is not None
        assert_same(observer.transcript, expected_of(number, GREEDY if number else options))
        assert [code for code, _ in observer.notes] == ["memory"] or number
    assert any(observer.notes for observer in others)


def test_a_lone_window_gets_the_memory_of_unused_slots(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lone, other = Observer(), Observer()
    with engine_with(toy(), also=OTHER_MODEL) as engine:
        start_task(engine, paths[3], GREEDY, lone)
        start_other(engine, paths[0], other)
        advance_until(engine, lambda: other.is_done)
        assert not lone.is_done
        short = fail_while(lambda *_: bool(engine._models[OTHER_MODEL]._pipeline._batches), run_step)
        monkeypatch.setattr(cpu_slots, "run_step", short)
        run_until_idle(engine)
    assert lone.transcript is not None
    assert_same(lone.transcript, expected_of(3))
    assert lone.notes == []


def test_for_a_lone_window_the_batch_of_another_model_shrinks(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lone, others = Observer(), [Observer() for _ in paths]
    with engine_with(toy(), also=OTHER_MODEL) as engine:
        runner, crowd = engine._models[MODEL], engine._models[OTHER_MODEL]

        def is_short(layers: Any, *_: Any) -> bool:
            return layers is runner.model.decoder.layers and crowd.num_in_flight > 1

        monkeypatch.setattr(cpu_slots, "run_step", fail_while(is_short, run_step))
        for path, observer in zip(paths, others, strict=True):
            start_other(engine, path, observer)
        advance_until(engine, lambda: crowd.num_decoding > 2)
        start_task(engine, paths[0], GREEDY, lone)
        run_until_idle(engine)
    assert_all_right(others)
    assert any(observer.notes for observer in others)
    assert lone.transcript is not None
    assert_same(lone.transcript, expected_of(0))


def test_a_lone_window_fails_its_task_when_nobody_can_free_memory(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_slots, "run_step", fail_while(lambda *_: True, run_step))
    observers = [Observer(), Observer()]
    with engine_with(toy(), also=OTHER_MODEL) as engine:
        start_task(engine, paths[0], GREEDY, observers[0])
        start_other(engine, paths[1], observers[1])
        run_until_idle(engine)
    assert all(isinstance(observer.error, OutOfMemoryError) for observer in observers)


def test_a_recording_is_opened_once_more_after_others_freed_memory(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    observers = [Observer() for _ in paths]
    with engine_with(toy()) as engine:
        for path, observer in zip(paths[1:], observers[1:], strict=True):
            start_task(engine, path, GREEDY, observer)
        advance_until(engine, lambda: engine._models[MODEL].num_decoding > 1)
        monkeypatch.setattr(LogMel, "prepare", fail_while(first(1), LogMel.prepare))
        start_task(engine, paths[0], GREEDY, observers[0])
        run_until_idle(engine)
    assert_all_right(observers)
    assert any(observer.notes for observer in observers[1:])


@pytest.mark.parametrize("has_idle_slots", [True, False])
def test_a_model_is_loaded_once_more_after_unused_slots_were_released(
    has_idle_slots: bool, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lone, other = Observer(), Observer()
    with engine_with(toy(), also=OTHER_MODEL) as engine:
        start_task(engine, paths[3], GREEDY, lone)
        if has_idle_slots:
            start_other(engine, paths[0], other)
            advance_until(engine, lambda: other.is_done)
        monkeypatch.setattr(batch_engine, "load_model", fail_while(first(1), lambda *_: toy()))
        if has_idle_slots:
            assert engine.load("small.en", Path()) > 0
        else:
            with pytest.raises(OutOfMemoryError):
                engine.load("small.en", Path())
        run_until_idle(engine)
    assert lone.transcript is not None
