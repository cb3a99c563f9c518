"""No task waits for another one's end: recordings, models and modes share the encoder and the slots."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whisper.model import Whisper

from tests.whisper_core.engine.driving import (
    CHUNKED,
    GREEDY,
    MODEL,
    OTHER_MODEL,
    Observer,
    advance_until,
    engine_with,
    run_until_idle,
    start_task,
    write_samples,
)
from tests.whisper_core.parity import noise, short_toy
from whisper_core.engine import batch_engine
from whisper_core.engine.active_task import ActiveStream
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.engine.model_runner import ModelRunner
from whisper_core.worker.messages import RunTask

pytestmark = pytest.mark.usefixtures("slow_encoder")


@cache
def toy() -> Whisper:
    """Its windows have fewer tokens than those of the other tests' toy."""
    return short_toy(7, n_text_ctx=12)


@pytest.fixture
def long(tmp_path: Path) -> list[Path]:
    """More recordings than the encoder can serve while a window is decoded, of four windows or more."""
    return [write_samples(tmp_path / f"{number}.pcm", noise(100, number)) for number in range(9)]


@pytest.fixture
def short(tmp_path: Path) -> Path:
    return write_samples(tmp_path / "short.pcm", noise(2))


def run_until(engine: BatchEngine, is_reached: Callable[[], bool]) -> None:
    advance_until(engine, is_reached, rounds=300)


def test_a_short_recording_does_not_wait_for_long_ones(long: list[Path], short: Path) -> None:
    busy, late = [Observer() for _ in long], Observer()
    with engine_with(toy()) as engine:
        for path, observer in zip(long, busy, strict=True):
            start_task(engine, path, GREEDY, observer)
        run_until(engine, lambda: bool(busy[0].windows))
        start_task(engine, short, GREEDY, late)
        run_until(engine, lambda: late.is_done)
        assert late.transcript is not None
        assert not any(observer.is_done for observer in busy)


def test_one_model_does_not_wait_for_another(long: list[Path], short: Path) -> None:
    busy, late = [Observer() for _ in long], Observer()
    with engine_with(toy(), also=OTHER_MODEL) as engine:
        for path, observer in zip(long, busy, strict=True):
            start_task(engine, path, GREEDY, observer)
        run_until(engine, lambda: bool(busy[0].windows))
        engine.start(RunTask("late", "late", OTHER_MODEL, str(short), GREEDY), late)
        run_until(engine, lambda: late.is_done)
        assert late.transcript is not None
        assert not any(observer.is_done for observer in busy)


def test_chunks_of_two_recordings_share_the_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_core.chunked.SpeechScan", AlwaysSpeech)
    paths = [write_samples(tmp_path / f"{number}.pcm", noise(120, number)) for number in range(2)]
    observers = [Observer(), Observer()]
    with engine_with(toy(), slots=4) as engine:
        for path, observer in zip(paths, observers, strict=True):
            start_task(engine, path, CHUNKED, observer)
        run_until(engine, lambda: bool(observers[1].windows))
        assert not observers[0].is_done
        run_until_idle(engine)
    assert all(observer.transcript is not None for observer in observers)


@pytest.mark.parametrize(("most", "reached"), [(1, 1), (2, 2), (None, 4)])
def test_a_recording_has_no_more_chunks_at_work_than_memory_was_reserved_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int | None, reached: int
) -> None:
    monkeypatch.setattr("whisper_core.chunked.SpeechScan", AlwaysSpeech)
    path, observer, at_work = write_samples(tmp_path / "a.pcm", noise(120)), Observer(), [0]
    with engine_with(toy(), slots=4) as engine:
        engine.start(RunTask("a", "a", MODEL, str(path), CHUNKED, windows_at_once=most), observer)
        (task,) = engine._tasks
        run_until_idle(engine, between=lambda: at_work.append(len(task.streams)))
    assert observer.transcript is not None
    assert max(at_work) == reached


def test_chunks_are_cut_a_few_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While their features are computed, no other task's windows are decoded."""
    monkeypatch.setattr("whisper_core.chunked.SpeechScan", AlwaysSpeech)
    monkeypatch.setattr(batch_engine, "START_STREAMS_S", 0.0)
    starts: list[int] = []
    begun_in_rounds: list[int] = []
    real = ModelRunner.start

    def start(runner: ModelRunner, stream: ActiveStream) -> None:
        starts.append(1)
        real(runner, stream)

    monkeypatch.setattr(ModelRunner, "start", start)
    observer = Observer()
    with engine_with(toy()) as engine:
        start_task(engine, write_samples(tmp_path / "a.pcm", noise(120)), CHUNKED, observer)
        while not observer.is_done:
            engine.advance()
            begun_in_rounds.append(len(starts))
            starts.clear()
    assert observer.transcript is not None
    assert max(begun_in_rounds) == 1


class AlwaysSpeech:
    def __init__(self, samples: Any) -> None:
        self.num_windows = -(-len(samples) // 512)

    def probabilities(self, first: int, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.ones(max(0, min(count, self.num_windows - first)), np.float32)
