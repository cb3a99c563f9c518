"""The fake engines report about a task what the real one reports: windows, checkpoints, and one end."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine, ParallelFakeEngine
from tests.whisper_core.parity import noise, short_toy
from whisper_core.reference.engine import ReferenceEngine
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.worker.engine_protocol import Engine
from whisper_core.worker.messages import RunTask

CONTENT_FRAMES = 6500


class Observer:
    """Records what it is told. stop_after, step_aside_after: the number of windows after which the task should."""

    def __init__(self, stop_after: int = 1000, step_aside_after: int = 1000) -> None:
        self.windows: list[WindowResult] = []
        self.ends: list[str] = []
        self.transcript: Transcript | None = None
        self._stop_after = stop_after
        self._step_aside_after = step_aside_after

    def window(self, window: WindowResult) -> None:
        self.windows.append(window)

    def should_stop(self) -> bool:
        return len(self.windows) >= self._stop_after

    def should_preempt(self) -> bool:
        return len(self.windows) >= self._step_aside_after

    def note(self, code: str, data: dict[str, int | float | str]) -> None:
        raise AssertionError(f"{code} {data}")

    def done(self, transcript: Transcript, peak_bytes: int) -> None:
        assert peak_bytes >= 0
        self.transcript = transcript
        self.ends.append("done")

    def stopped(self) -> None:
        self.ends.append("stopped")

    def failed(self, error: Exception) -> None:
        self.ends.append("failed")


@pytest.fixture(params=[ReferenceEngine, FakeEngine, ParallelFakeEngine])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    toy = short_toy(1)
    monkeypatch.setattr("whisper_core.reference.engine.load_model", lambda name, models_dir, device: copy.deepcopy(toy))
    made: Engine = request.param("cpu", 1)
    made.load("tiny", tmp_path)
    return made


@pytest.fixture
def run(engine: Engine, tmp_path: Path) -> Callable[..., None]:
    path = tmp_path / "samples.pcm"
    noise(CONTENT_FRAMES / 100).tofile(path)

    def run_to_the_end(observer: Observer, after: list[WindowResult] | None = None) -> None:
        done = after or []
        command = RunTask(
            "task", "attempt", "tiny", str(path), TranscribeOptions(language="en", temperature=0.8),
            resume=done[-1].checkpoint if done else None,
            segments=tuple(segment for window in done for segment in window.segments),
            first_window=len(done),
        )  # fmt: skip
        engine.start(command, observer)
        while engine.is_busy:
            engine.advance()

    return run_to_the_end


def test_it_has_slots_and_reports_its_memory(engine: Engine) -> None:
    assert engine.slots >= 1
    assert engine.memory().peak >= engine.memory().used >= 0
    assert not engine.is_busy


def test_windows_are_numbered_grow_and_make_up_the_transcript(run: Callable[..., None]) -> None:
    observer = Observer()
    run(observer)
    assert observer.ends == ["done"]
    assert [window.index for window in observer.windows] == list(range(len(observer.windows)))
    seeks = [window.checkpoint.seek for window in observer.windows]
    assert seeks == sorted(set(seeks))
    assert seeks[-1] >= CONTENT_FRAMES
    assert {window.checkpoint.content_frames for window in observer.windows} == {CONTENT_FRAMES}
    assert observer.transcript is not None
    assert observer.transcript.segments == tuple(segment for window in observer.windows for segment in window.segments)


@pytest.mark.parametrize("knob", ["stop_after", "step_aside_after"])
def test_a_stopped_task_continues_after_its_last_window(run: Callable[..., None], knob: str) -> None:
    whole, first, rest = Observer(), Observer(**{knob: 1}), Observer()
    run(whole)
    run(first)
    assert first.ends == ["stopped"]
    run(rest, first.windows)
    assert first.windows + rest.windows == whole.windows
    assert rest.transcript == whole.transcript
