"""A preempted task ends where no work is lost: between two windows, or after the chunks that were started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.whisper_core.engine.driving import (
    CHUNKED,
    GREEDY,
    MODEL,
    Observer,
    advance_until,
    assert_same,
    engine_with,
    expected_of_noise,
    run_until_idle,
    start_task,
    toy,
    write_samples,
)
from tests.whisper_core.parity import RATE, Samples, noise
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import WindowResult
from whisper_core.worker.messages import RunTask

LONG_S, LONG_SEED = 75.0, 5


@pytest.fixture
def long(tmp_path: Path) -> Path:
    return write_samples(tmp_path / "long.pcm", noise(LONG_S, LONG_SEED))


def resumed(path: Path, options: TranscribeOptions, windows: list[WindowResult]) -> RunTask:
    segments = tuple(segment for window in windows for segment in window.segments)
    checkpoint = windows[-1].checkpoint if windows else None
    return RunTask("again", "again", MODEL, str(path), options, checkpoint, segments, len(windows))


def test_it_ends_behind_its_window_and_goes_on_there(long: Path, tmp_path: Path) -> None:
    first, second, other = Observer(is_preempted_after=1), Observer(), Observer()
    with engine_with(toy()) as engine:
        start_task(engine, long, GREEDY, first)
        start_task(engine, write_samples(tmp_path / "short.pcm", noise(3.0)), GREEDY, other)
        run_until_idle(engine)
        assert first.was_stopped
        assert len(first.windows) == 1
        assert other.transcript is not None
        engine.start(resumed(long, GREEDY, first.windows), second)
        run_until_idle(engine)
    assert second.transcript is not None
    assert_same(second.transcript, expected_of_noise(LONG_S, LONG_SEED))


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_window_at_work_is_finished_first_unless_the_task_is_stopped(long: Path, is_stopped: bool) -> None:
    observer = Observer()
    with engine_with(toy()) as engine:
        start_task(engine, long, GREEDY, observer)
        advance_until(engine, lambda: engine.statistics.steps > 0)
        observer.is_preempted_after = 0
        observer.stops_after = 0 if is_stopped else None
        run_until_idle(engine)
    assert observer.was_stopped
    assert len(observer.windows) == (0 if is_stopped else 1)


def test_a_task_of_which_nothing_is_at_work_ends_at_once(long: Path) -> None:
    observer = Observer(is_preempted_after=0)
    with engine_with(toy()) as engine:
        start_task(engine, long, GREEDY, observer)
        engine.advance()
        assert observer.was_stopped
        assert not engine.is_busy


def test_a_task_that_is_at_its_last_chunk_completes(tmp_path: Path, loud_scan: None) -> None:
    observer = Observer()
    with engine_with(toy()) as engine:
        start_task(engine, write_samples(tmp_path / "short.pcm", np.abs(noise(3.0)) + 1), CHUNKED, observer)
        advance_until(engine, lambda: engine.statistics.steps > 0)
        observer.is_preempted_after = 0
        run_until_idle(engine)
    assert observer.transcript is not None


@pytest.mark.parametrize("slots", [1, 3, 16])
def test_chunks_that_were_begun_are_finished_and_told(slots: int, tmp_path: Path, loud_scan: None) -> None:
    path = write_samples(tmp_path / "chunks.pcm", five_chunks())
    whole, first, second = Observer(), Observer(), Observer()
    with engine_with(toy(), slots=slots) as engine:
        start_task(engine, path, CHUNKED, whole)
        run_until_idle(engine)
        all_windows = engine.statistics.windows
        start_task(engine, path, CHUNKED, first)
        advance_until(engine, lambda: engine.statistics.windows > all_windows)
        first.is_preempted_after = 0
        run_until_idle(engine)
        if slots == 1:
            assert first.was_stopped
            assert 0 < len(first.windows) < len(whole.windows)
        if first.was_stopped:
            engine.start(resumed(path, CHUNKED, first.windows), second)
            run_until_idle(engine)
        assert engine.statistics.windows == 2 * all_windows  # nothing was decoded twice
    transcript = second.transcript or first.transcript
    assert transcript is not None
    assert whole.transcript is not None
    assert_same(transcript, whole.transcript)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_where_stops_are_watched_a_task_is_asked_only_after_one(long: Path, is_stopped: bool) -> None:
    stops, observer = Stops(), AskedObserver()
    with engine_with(toy()) as engine:
        engine.watch_stops(lambda: stops.number)
        start_task(engine, long, GREEDY, observer)
        engine.advance()
        observer.times_asked = 0
        advance_until(engine, lambda: engine.statistics.steps > 2)
        assert observer.times_asked == 0
        stops.number += 1
        observer.stops_after, observer.is_preempted_after = (0, None) if is_stopped else (None, 0)
        engine.advance()
        assert observer.was_stopped == is_stopped  # otherwise its window is finished first
        run_until_idle(engine)
    assert observer.was_stopped
    assert len(observer.windows) == (0 if is_stopped else 1)


def test_a_preempted_task_that_is_then_stopped_does_not_finish_its_window(long: Path) -> None:
    stops, observer = Stops(), AskedObserver()
    with engine_with(toy()) as engine:
        engine.watch_stops(lambda: stops.number)
        start_task(engine, long, GREEDY, observer)
        advance_until(engine, lambda: engine.statistics.steps > 0)
        stops.number += 1
        observer.is_preempted_after = 0
        engine.advance()
        stops.number += 1
        observer.stops_after = 0
        engine.advance()
        assert observer.was_stopped
        assert not observer.windows


@dataclass
class Stops:
    number: int = 0


@dataclass
class AskedObserver(Observer):
    times_asked: int = 0

    def should_stop(self) -> bool:
        self.times_asked += 1
        return super().should_stop()


def five_chunks() -> Samples:
    """Six seconds of noise and 25 of silence, five times."""
    loud = np.maximum(np.abs(noise(6.0)), 1)
    return np.concatenate([np.concatenate([loud, np.zeros(25 * RATE, np.int16)]) for _ in range(5)])
