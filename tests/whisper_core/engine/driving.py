"""Runs recordings through a BatchEngine with a test's own model, and compares transcripts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from whisper.model import Whisper

from tests.whisper_core.parity import Samples, noise, short_toy
from whisper_core.audio.log_mel import LogMel
from whisper_core.engine import batch_engine
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.engine.executors import run_inline
from whisper_core.model_requests import DEFAULT_SETTINGS, DecodeSettings
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.transcribe import transcribe_audio
from whisper_core.worker.messages import RunTask

MODEL = "tiny.en"  # whatever the test's model is, it is loaded under this name
OTHER_MODEL = "base.en"
MANY_ROUNDS = 100_000
FRAME_S = 0.02
LAST_BITS = 2e-3  # of a mean logprob, whose 200 terms of other batch sizes differ in their last bits

GREEDY = TranscribeOptions(language="en", temperature=0.0)
CHUNKED = replace(GREEDY, mode="vad")


def num_rows(layers: Any, functions: Any, tokens: Any, positions: Any, rows: Any, *_: Any) -> int:
    """How many rows `run_step` computes when it is called with these arguments."""
    return rows.stop if isinstance(rows, slice) else len(rows)


@dataclass
class Observer:
    """What an engine reports about one task."""

    stops_after: int | None = None  # windows after which the task should stop
    is_preempted_after: int | None = None  # windows after which it should be preempted
    notes: list[tuple[str, dict[str, int | float | str]]] = field(default_factory=list)
    windows: list[WindowResult] = field(default_factory=list)
    transcript: Transcript | None = None
    error: Exception | None = None
    was_stopped: bool = False
    peak_bytes: int = -1

    @property
    def is_done(self) -> bool:
        return self.was_stopped or self.transcript is not None or self.error is not None

    def window(self, window: WindowResult) -> None:
        assert not self.is_done
        self.windows.append(window)

    def should_stop(self) -> bool:
        return self.stops_after is not None and len(self.windows) >= self.stops_after

    def should_preempt(self) -> bool:
        return self.is_preempted_after is not None and len(self.windows) >= self.is_preempted_after

    def note(self, code: str, data: dict[str, int | float | str]) -> None:
        assert not self.is_done
        self.notes.append((code, data))

    def done(self, transcript: Transcript, peak_bytes: int) -> None:
        assert not self.is_done
        self.transcript, self.peak_bytes = transcript, peak_bytes

    def stopped(self) -> None:
        assert not self.is_done
        self.was_stopped = True

    def failed(self, error: Exception) -> None:
        assert not self.is_done
        self.error = error


class SlowExecutor:
    """Runs one call a round, in the caller's thread: an encoder that is always behind. See SerialExecutor."""

    has_capacity = True

    def __init__(self, *_: Any) -> None:
        self._calls: deque[tuple[Callable[[], Any], Callable[[Future[Any]], None]]] = deque()

    @property
    def is_idle(self) -> bool:
        return not self._calls

    def submit(self, work: Callable[[], Any], on_result: Callable[[Future[Any]], None]) -> None:
        self._calls.append((work, on_result))
        self.has_capacity = len(self._calls) < 2

    def run(self, work: Callable[[], None]) -> None:
        work()

    def deliver_results(self) -> None:
        if self._calls:
            work, on_result = self._calls.popleft()
            self.has_capacity = True
            on_result(run_inline(work))

    def wait(self, timeout_s: float) -> None:
        """Nothing is under way between two rounds."""

    def close(self) -> None:
        """It has no thread to end."""


@contextmanager
def engine_with(
    model: Whisper,
    settings: DecodeSettings | None = DEFAULT_SETTINGS,
    *,
    slots: int = 16,
    name: str = MODEL,
    also: str | None = None,
    cores: int = 1,
) -> Iterator[BatchEngine]:
    """An engine on the CPU with `model` resident, and resident once more under the name `also` when that is given.

    name: what it is loaded as, which settles the precision.

    cores: one for the toy, whose operations are too small to be shared.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_engine, "load_model", lambda name, models_dir, device: model)
        patch.setitem(batch_engine.SLOTS, "cpu", slots)
        engine = BatchEngine("cpu", cores, settings)
        engine.load(name, Path())
        if also is not None:
            engine.load(also, Path())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_engine, "free_memory", lambda: None)  # collecting the test run's own garbage takes 0.2 s
        try:
            yield engine
        finally:
            engine.close()


def start_task(
    engine: BatchEngine,
    path: Path,
    options: TranscribeOptions,
    observer: Observer,
    seed: int = 0,
    model: str = MODEL,
) -> None:
    name = f"{path.stem}-{id(observer)}"
    engine.start(RunTask(name, name, model, str(path), options, seed=seed), observer)


def run_until_idle(engine: BatchEngine, between: Callable[[], None] = lambda: None) -> None:
    for _ in range(MANY_ROUNDS):
        if not engine.is_busy:
            return
        engine.advance()
        between()
    pytest.fail("the engine did not come to an end")


def advance_until(engine: BatchEngine, is_reached: Callable[[], bool], rounds: int = 1000) -> None:
    for _ in range(rounds):
        if is_reached():
            return
        engine.advance()
    pytest.fail("the engine did not get that far")


def write_samples(path: Path, samples: Samples) -> Path:
    samples.astype("<i2").tofile(path)
    return path


def transcribe_together(
    model: Whisper,
    recordings: Sequence[Samples],
    options: TranscribeOptions | Sequence[TranscribeOptions],
    settings: DecodeSettings | None,
    folder: Path,
    *,
    slots: int = 16,
    seed: int = 0,
    name: str = MODEL,
    cores: int = 1,
) -> list[Transcript]:
    """The recordings' transcripts, from one engine that has all of them at once. name: what the model is loaded as."""
    each = [options] * len(recordings) if isinstance(options, TranscribeOptions) else options
    observers = [Observer() for _ in recordings]
    with engine_with(model, settings, slots=slots, name=name, cores=cores) as engine:
        for number, (samples, wanted, observer) in enumerate(zip(recordings, each, observers, strict=True)):
            start_task(engine, write_samples(folder / f"{number}.pcm", samples), wanted, observer, seed, name)
        run_until_idle(engine)
    for observer in observers:
        if observer.error is not None:
            raise observer.error
    return [observer.transcript for observer in observers if observer.transcript is not None]


def alone_by_reference(
    model: Whisper, samples: Samples, options: TranscribeOptions, settings: DecodeSettings | None, seed: int = 0
) -> Transcript:
    """The transcript by openai-whisper's own decoding, with the task's seed."""
    reference = ReferenceModel(model, seed=seed)
    transcript = transcribe_audio(
        LogMel(samples, model.dims.n_mels), reference.traits, options, reference.serve, settings=settings
    )
    assert transcript is not None
    return transcript


@cache
def toy() -> Whisper:
    return short_toy(7, n_text_ctx=20)


@cache
def expected_of_noise(seconds: float, seed: int, options: TranscribeOptions = GREEDY) -> Transcript:
    """What the reference hears in that noise with the toy."""
    return alone_by_reference(toy(), noise(seconds, seed), options, DEFAULT_SETTINGS)


def assert_same(ours: Transcript, expected: Transcript) -> None:
    """Text, tokens, segments and temperatures are equal; sums of floats may differ by the order of summing."""
    assert ours.text == expected.text
    assert ours.language == expected.language
    assert len(ours.segments) == len(expected.segments)
    for mine, theirs in zip(ours.segments, expected.segments, strict=True):
        assert (mine.id, mine.seek, mine.text, mine.tokens) == (theirs.id, theirs.seek, theirs.text, theirs.tokens)
        assert mine.temperature == theirs.temperature
        assert mine.compression_ratio == theirs.compression_ratio
        assert mine.avg_logprob == pytest.approx(theirs.avg_logprob, abs=LAST_BITS)
        assert mine.no_speech_prob == pytest.approx(theirs.no_speech_prob, rel=LAST_BITS, abs=1e-6)
        assert [word.word for word in mine.words or ()] == [word.word for word in theirs.words or ()]
        tolerance = FRAME_S + 1e-6 if theirs.words else 0.0
        assert (mine.start, mine.end) == pytest.approx((theirs.start, theirs.end), abs=tolerance)
        for my_word, their_word in zip(mine.words or (), theirs.words or (), strict=True):
            assert (my_word.start, my_word.end) == pytest.approx((their_word.start, their_word.end), abs=tolerance)
