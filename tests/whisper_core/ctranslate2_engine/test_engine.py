"""Ctranslate2Engine on a toy model: the transcripts of ReferenceEngine, from the same weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from errors import EngineError
from tests.whisper_core.parity import noise, short_toy
from whisper_core.ctranslate2_engine.engine import Ctranslate2Engine
from whisper_core.ctranslate2_engine.spec import memory_needs
from whisper_core.models.catalogue import MODELS, model_info
from whisper_core.reference.engine import ReferenceEngine
from whisper_core.reference.sequential_engine import SequentialEngine
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.worker.messages import RunTask

GREEDY = TranscribeOptions(language="en", temperature=0.0)
WORDS = replace(GREEDY, word_timestamps=True)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "samples.pcm"
    noise(45).tofile(path)
    return path


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SequentialEngine]:
    """Both, with the toy under the names `tiny` and, where it is to be in int8, `tiny-int8`."""
    toy = short_toy(1).half().float()  # as published weights are: CTranslate2 is given fp16
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Any] = {"reference": ReferenceEngine("cpu", 1), "ctranslate2": Ctranslate2Engine("cpu", 1)}
    with pytest.MonkeyPatch.context() as patch:
        for module in ("whisper_core.reference.engine", "whisper_core.ctranslate2_engine.engine"):
            patch.setattr(f"{module}.load_model", lambda name, models_dir, device: copy.deepcopy(toy))
        for engine in made.values():
            engine.load("tiny", folder)
        assert made["ctranslate2"].load("tiny", folder) == 0
        made["ctranslate2"].load("tiny-int8", folder)
    return made


def run(
    engine: SequentialEngine,
    audio: Path,
    options: TranscribeOptions = GREEDY,
    should_stop: Callable[[], bool] = lambda: False,
    **changes: Any,
) -> tuple[Transcript | None, list[WindowResult]]:
    windows: list[WindowResult] = []
    command = RunTask("task", "lease", changes.pop("model", "tiny"), str(audio), options, seed=7, **changes)
    return engine.run(command, windows.append, should_stop), windows


def rounded(transcript: Transcript | None) -> Transcript:
    """Two libraries add the same numbers in different orders.

    Segments that lost their text are left out: those of the last 20 ms begin before them with openai-whisper's words.
    """
    assert transcript is not None
    segments = []
    for each in (segment for segment in transcript.segments if segment.text):
        words = tuple(replace(word, probability=round(word.probability, 3)) for word in each.words or ())
        figures = {name: round(getattr(each, name), 3) for name in ("avg_logprob", "no_speech_prob")}
        segments.append(replace(each, **figures, words=words))
    return replace(transcript, segments=tuple(segments))


@pytest.mark.parametrize(
    "options",
    [
        replace(GREEDY, language=None),
        replace(GREEDY, task="translate", language="de", initial_prompt="Once upon a time", suppress_tokens=""),
        pytest.param(WORDS, marks=pytest.mark.slow),  # openai-whisper compiles for seconds what CTranslate2 brings
    ],
    ids=["language", "translation", "words"],
)
def test_its_transcripts_are_those_of_openai_whisper(
    engines: dict[str, SequentialEngine], audio: Path, options: TranscribeOptions
) -> None:
    theirs, ours = (run(engines[name], audio, options) for name in ("reference", "ctranslate2"))
    assert rounded(ours[0]) == rounded(theirs[0])
    assert [window.checkpoint.seek for window in ours[1]] == [window.checkpoint.seek for window in theirs[1]]


def test_words_are_those_of_the_text_in_their_order(engines: dict[str, SequentialEngine], audio: Path) -> None:
    transcript, _ = run(engines["ctranslate2"], audio, WORDS)
    assert transcript is not None
    said = [each for each in transcript.segments if each.words]
    assert [each.text for each in said] == ["".join(word.word for word in each.words or ()) for each in said]
    assert len(said) > 1
    for each in said:
        times = [time for word in each.words or () for time in (word.start, word.end)]
        assert times == sorted(times)


def test_it_goes_on_after_a_checkpoint(engines: dict[str, SequentialEngine], audio: Path) -> None:
    engine = engines["ctranslate2"]
    whole, windows = run(engine, audio)
    first = windows[0]
    resumed, rest = run(engine, audio, resume=first.checkpoint, segments=first.segments, first_window=1)
    assert (resumed, rest) == (whole, windows[1:])


def test_beams_and_samples_are_taken(engines: dict[str, SequentialEngine], audio: Path) -> None:
    for options in (replace(GREEDY, beam_size=3, patience=1.5), replace(GREEDY, temperature=0.8, best_of=3)):
        transcript, windows = run(engines["ctranslate2"], audio, options)
        assert transcript is not None
        assert windows


def test_an_int8_model_says_so(engines: dict[str, SequentialEngine], audio: Path) -> None:
    packed, _ = run(engines["ctranslate2"], audio, model="tiny-int8")
    plain, _ = run(engines["ctranslate2"], audio)
    assert packed is not None
    assert plain is not None
    assert (packed.precision, plain.precision) == ("int8", "fp32")


def test_it_stops_between_windows_and_needs_its_model(engines: dict[str, SequentialEngine], audio: Path) -> None:
    assert run(engines["ctranslate2"], audio, should_stop=lambda: True) == (None, [])
    with pytest.raises(EngineError, match="base is not loaded"):
        run(engines["ctranslate2"], audio, model="base")


def test_it_is_for_cpus() -> None:
    with pytest.raises(EngineError, match="CPUs only"):
        Ctranslate2Engine("cuda:0", 1)


@pytest.mark.parametrize(
    ("model", "weights", "task", "words"),
    [
        ("tiny", 184, 144, 83),
        ("tiny-int8", 75, 158, 111),
        ("base-int8", 113, 210, 136),
        ("small", 1002, 353, 194),
        ("small-int8", 290, 386, 195),
    ],
)
def test_what_was_measured_is_promised(model: str, weights: int, task: int, words: int) -> None:
    """In MB, as the module's head says."""
    needs = memory_needs(model_info(model), "cpu")
    assert weights * 1e6 * 0.99 < needs.weights < weights * 1e6 * 1.3
    assert task * 1e6 < needs.task < 2 * task * 1e6
    assert words * 1e6 < needs.words + needs.task  # the window is decoded by then


def test_larger_models_need_more() -> None:
    needs = [memory_needs(MODELS[name], "cpu") for name in ("tiny", "base", "small", "medium", "large-v3")]
    assert sorted(needs, key=lambda each: (each.weights, each.task, each.words, each.beam)) == needs
