"""Recordings are opened in parts, the one with the least left first."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.whisper_core.engine.driving import (
    CHUNKED,
    GREEDY,
    MODEL,
    Observer,
    SlowExecutor,
    assert_same,
    engine_with,
    expected_of_noise,
    run_until_idle,
    start_task,
    toy,
    write_samples,
)
from tests.whisper_core.parity import RATE, noise
from whisper_core.audio.log_mel import LogMel
from whisper_core.engine import recording_opener
from whisper_core.engine.active_task import ActiveTask
from whisper_core.engine.recording_opener import MOST_AT_ONCE, RecordingOpener
from whisper_core.model_requests import DEFAULT_SETTINGS
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker.messages import RunTask

PART_S = 60


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_opener, "PART_FRAMES", PART_S * 100)


class PatientExecutor(SlowExecutor):
    """Takes as many calls as the engine's executor for recordings."""

    def submit(self, work: Callable[[], Any], on_result: Callable[[Future[Any]], None]) -> None:
        super().submit(work, on_result)
        self.has_capacity = self.num_queued < MOST_AT_ONCE

    @property
    def num_queued(self) -> int:
        return len(self._calls)


class Opening:
    """An opener whose executor does one part when it is told to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._executor = PatientExecutor()
        self._traits = ReferenceModel(toy()).traits
        executor: Any = self._executor
        self.opener = RecordingOpener(executor, torch.device("cpu"), DEFAULT_SETTINGS, lambda: False)

    def add(self, name: str, seconds: float, options: TranscribeOptions = GREEDY) -> ActiveTask:
        path = write_samples(self._folder / f"{name}.pcm", np.zeros(int(seconds * RATE), np.int16))
        task = ActiveTask(RunTask(name, name, MODEL, str(path), options), Observer())
        self.opener.enqueue(task, self._traits)
        return task

    def num_at_once(self) -> int:
        self.opener.submit_waiting()
        return self._executor.num_queued

    def do_one_part(self) -> None:
        self.opener.submit_waiting()
        self._executor.deliver_results()


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    return Opening(tmp_path)


def test_a_clip_is_opened_before_the_long_recordings_that_came_first(opening: Opening) -> None:
    long_ones = [opening.add(f"long{number}", 20 * PART_S) for number in range(3)]
    for _ in range(5):
        opening.do_one_part()
    clip = opening.add("clip", 10.0)

    parts = 0
    while clip.recording is None:
        opening.do_one_part()
        parts += 1

    assert parts <= 3  # the two that the executor had already, and its own
    assert [task.recording for task in long_ones] == [None, None, None]
    for _ in range(60):
        opening.do_one_part()
    assert all(task.recording is not None for task in long_ones)
    for task in (*long_ones, clip):
        task.close_samples()


@pytest.mark.parametrize(
    ("seconds", "options", "at_once"),
    [
        (1.0, GREEDY, MOST_AT_ONCE),
        (PART_S / 4, GREEDY, 8),
        (20 * PART_S, GREEDY, 2),
        (20 * PART_S, CHUNKED, MOST_AT_ONCE),  # of which little is read at first
    ],
)
def test_the_executor_is_given_many_short_recordings_or_two_parts_of_long_ones(
    opening: Opening, seconds: float, options: TranscribeOptions, at_once: int
) -> None:
    tasks = [opening.add(str(number), seconds, options) for number in range(MOST_AT_ONCE + 1)]
    assert opening.num_at_once() == at_once
    opening.do_one_part()
    assert opening.num_at_once() == at_once
    for task in tasks:
        task.close_samples()


def test_a_recording_that_is_gone_fails_when_it_is_opened(opening: Opening, tmp_path: Path) -> None:
    task = ActiveTask(RunTask("gone", "gone", MODEL, str(tmp_path / "gone.pcm"), GREEDY), Observer())
    opening.opener.enqueue(task, ReferenceModel(toy()).traits)
    opening.do_one_part()
    assert task.is_done


def test_nothing_more_is_read_of_a_task_that_was_stopped(opening: Opening) -> None:
    task = opening.add("long", 20 * PART_S)
    opening.do_one_part()
    task.stop()
    for _ in range(5):
        opening.do_one_part()
    assert task.recording is None

    following = opening.add("next", 1.0)
    opening.do_one_part()
    assert following.recording is not None
    following.close_samples()


def test_the_floor_is_the_same_in_parts_as_in_one_go() -> None:
    samples = noise(200.0)
    whole, parts = LogMel(samples, 80), LogMel(samples, 80)
    whole.prepare()
    assert [parts.prepare(5_000) for _ in range(5)] == [False, False, False, True, True]
    assert parts.frames_left == 0
    assert torch.equal(whole.window(6000, 3000).tensor(), parts.window(6000, 3000).tensor())


def test_texts_are_the_same_when_recordings_are_opened_in_parts(tmp_path: Path) -> None:
    observers = [Observer(), Observer()]
    with engine_with(toy()) as engine:
        for seed, (seconds, observer) in enumerate(zip((150.0, 10.0), observers, strict=True)):
            path = write_samples(tmp_path / f"{seed}.pcm", noise(seconds, seed))
            start_task(engine, path, GREEDY, observer)
        run_until_idle(engine)
    for seed, (seconds, observer) in enumerate(zip((150.0, 10.0), observers, strict=True)):
        assert observer.transcript is not None
        assert_same(observer.transcript, expected_of_noise(seconds, seed))
