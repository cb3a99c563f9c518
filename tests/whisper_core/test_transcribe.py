"""transcribe_audio gives what whisper.transcribe gives, to the last bit, and what it gave when it is interrupted.

Random weights make long odd sequences, so that every rule is reached; real speech is in test_transcribe_speech.py.
"""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
import torch

from errors import BadRecordError, EngineError
from tests.slow_cases import slow
from tests.whisper_core.parity import (
    RATE,
    Samples,
    assert_parity,
    noise,
    our_windows,
    resume_after,
    short_toy,
    upstream_result,
)
from tests.whisper_core.toy_model import toy_model
from whisper_core.audio.log_mel import LogMel
from whisper_core.model_requests import DecodeSettings, Encode
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.transcribe import transcription_steps

GREEDY = TranscribeOptions(language="en", temperature=0.0)
LADDER = TranscribeOptions(language="en")
WORDS = replace(GREEDY, word_timestamps=True)


@pytest.mark.parametrize("seconds", [0.001, slow(0.1), slow(29.99), 30.0, 30.01, 65.0])
def test_parity_at_every_length(seconds: float) -> None:
    assert_parity(short_toy(1), noise(seconds), GREEDY)


@pytest.mark.parametrize(("seed", "sharpness"), [(1, 0.1), slow(2, 0.3), (3, 0.6), slow(4, 1.0), (5, 3.0)])
def test_parity_for_flat_and_for_sharp_models(seed: int, sharpness: float) -> None:
    assert_parity(short_toy(seed, sharpness=sharpness), noise(50, seed), GREEDY)


def test_parity_on_the_temperature_ladder() -> None:
    transcript = assert_parity(short_toy(0), noise(31), LADDER)
    assert {segment.temperature for segment in transcript.segments} == {1.0}


def test_parity_when_the_ladder_stops_half_way() -> None:
    """A threshold between what the temperatures reach, so that some windows fall back and some do not."""
    settings = DecodeSettings(logprob_threshold=-1.2, compression_ratio_threshold=1.9, temperatures=(0.0, 0.3, 0.9))
    transcript = assert_parity(short_toy(3, sharpness=1.0), noise(65, 3), LADDER, settings)
    assert len({segment.temperature for segment in transcript.segments}) > 1


@pytest.mark.parametrize("samples", [np.zeros(RATE * 31, np.int16), np.full(RATE * 2, -32768, np.int16)])
def test_parity_on_silence_and_on_full_scale(samples: Samples) -> None:
    assert_parity(short_toy(2), samples, GREEDY)


@pytest.mark.parametrize(("seed", "seconds"), [(0, 3.0), slow(1, 3.0), (2, 35.0)])
def test_parity_with_detected_language(seed: int, seconds: float) -> None:
    assert_parity(short_toy(seed), noise(seconds, seed), TranscribeOptions(temperature=0.0))


def test_parity_for_an_english_only_model() -> None:
    assert_parity(short_toy(4, is_multilingual=False), noise(35), TranscribeOptions(temperature=0.0))


def test_parity_for_translation() -> None:
    assert_parity(short_toy(5), noise(35), TranscribeOptions(language="it", task="translate", temperature=0.0))


@pytest.mark.parametrize(
    ("prompt", "conditions"), [("", True), ("  names: Ångström, 東京 ", True), ("long " * 300, True), ("a name", False)]
)
def test_parity_with_an_initial_prompt(prompt: str, conditions: bool) -> None:
    settings = DecodeSettings(condition_on_previous_text=conditions)
    assert_parity(short_toy(6), noise(65), replace(GREEDY, initial_prompt=prompt), settings)


def test_a_prompt_that_spells_a_special_token_is_ordinary_text() -> None:
    """openai-whisper raises ValueError for it; a person's prompt must not fail a task."""
    options = replace(GREEDY, initial_prompt="<|endoftext|>")
    transcript, _ = our_windows(short_toy(6), noise(3), options)
    assert transcript is not None


@pytest.mark.usefixtures("alignment")
@pytest.mark.parametrize(("seed", "language"), [(0, "en"), (1, "ja"), slow(2, "en"), slow(3, "en")])
def test_parity_with_word_timestamps(seed: int, language: str) -> None:
    options = replace(GREEDY, language=language, word_timestamps=True)
    transcript = assert_parity(short_toy(seed), noise(35, seed), options)
    assert any(segment.words for segment in transcript.segments)


@pytest.mark.usefixtures("alignment")
def test_parity_with_word_timestamps_on_the_ladder() -> None:
    assert_parity(
        short_toy(7), noise(31, 7), replace(LADDER, word_timestamps=True), DecodeSettings(temperatures=(0, 1))
    )


@pytest.mark.usefixtures("alignment")
def test_word_timestamps_leave_the_number_of_threads_alone() -> None:
    numba.set_num_threads(2)
    try:
        our_windows(short_toy(1), noise(5), WORDS)
        assert torch.get_num_threads() == 1
    finally:
        numba.set_num_threads(1)


def test_a_failed_alignment_leaves_the_model_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """openai-whisper leaves its hooks on the model then, and they make every later decode fail."""
    model = short_toy(1)
    before, _ = our_windows(model, noise(5), GREEDY)

    def run_out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "forward", run_out_of_memory)
        with pytest.raises(torch.OutOfMemoryError):
            our_windows(model, noise(5), WORDS)
    after, _ = our_windows(model, noise(5), GREEDY)
    assert after == before


def test_parity_at_one_warm_temperature() -> None:
    assert_parity(short_toy(8), noise(35), replace(GREEDY, temperature=0.7))


def test_parity_with_beam_search() -> None:
    assert_parity(short_toy(9), noise(31), GREEDY, DecodeSettings(beam_size=5, patience=1.5))


def test_parity_with_the_best_of_several_samples() -> None:
    settings = DecodeSettings(temperatures=(0.0, 0.5), beam_size=2, best_of=3)
    assert_parity(short_toy(10), noise(31), LADDER, settings)


@pytest.mark.parametrize("logprob_threshold", [None, -1.0, -100.0])
def test_parity_when_windows_are_skipped_as_silence(logprob_threshold: float | None) -> None:
    """no_speech_threshold: between what this model says of one window and of another."""
    model, samples = short_toy(1, sharpness=0.6), noise(65, 1)
    settings = DecodeSettings(no_speech_threshold=1e-6, logprob_threshold=logprob_threshold)
    assert_parity(model, samples, GREEDY, settings)
    _, windows = our_windows(model, samples, GREEDY, settings)
    has_segments = {bool(window.segments) for window in windows}
    assert has_segments == ({True} if logprob_threshold == -100.0 else {True, False})


def test_parity_with_the_real_text_context() -> None:
    assert_parity(toy_model(12), noise(10), GREEDY)


def test_a_window_without_speech_is_still_reported() -> None:
    settings = DecodeSettings(no_speech_threshold=0.0, logprob_threshold=None)
    transcript, windows = our_windows(short_toy(1), noise(65), GREEDY, settings)
    assert transcript == Transcript("", "en", (), "fp32")
    assert [(window.index, window.segments, window.checkpoint.seek) for window in windows] == [
        (0, (), 3000),
        (1, (), 6000),
        (2, (), 6500),
    ]


RESUMED = [
    (GREEDY, DecodeSettings()),
    (replace(LADDER, initial_prompt="Names: Ann."), DecodeSettings(temperatures=(0.0, 0.9))),
    (WORDS, DecodeSettings()),
    (TranscribeOptions(temperature=0.0), DecodeSettings(condition_on_previous_text=False)),
]


@pytest.mark.usefixtures("alignment")
@pytest.mark.parametrize(("options", "settings"), RESUMED)
def test_resuming_at_any_window_ends_as_an_uninterrupted_run(
    options: TranscribeOptions, settings: DecodeSettings
) -> None:
    model, samples = short_toy(13), noise(35 if options.word_timestamps else 65, 13)
    whole, windows = our_windows(model, samples, options, settings, task_seed=7)
    assert len(windows) > 2
    for done in range(1, len(windows) + 1):
        resume = resume_after(windows[:done])
        resumed, rest = our_windows(model, samples, options, settings, seed=done, task_seed=7, resume=resume)
        assert (resumed, rest) == (whole, windows[done:])


def test_a_task_samples_the_same_whatever_was_sampled_before() -> None:
    model, samples, options = short_toy(14), noise(35), replace(GREEDY, temperature=0.9)
    first, _ = our_windows(model, samples, options, seed=1, task_seed=5)
    second, _ = our_windows(model, samples, options, seed=2, task_seed=5)
    other, _ = our_windows(model, samples, options, seed=1, task_seed=6)
    assert first == second
    assert first != other


@pytest.mark.parametrize("stop_after", [0, slow(1), 2])
def test_it_stops_at_a_window_boundary(stop_after: int) -> None:
    model, samples = short_toy(1), noise(65)
    _, windows = our_windows(model, samples, GREEDY)
    assert len(windows) > 2
    stopped, done = our_windows(model, samples, GREEDY, stop_after=stop_after)
    assert stopped is None
    assert done == windows[:stop_after]


def test_a_checkpoint_of_another_recording_is_refused() -> None:
    model = short_toy(1)
    _, windows = our_windows(model, noise(65), GREEDY)
    with pytest.raises(BadRecordError):
        our_windows(model, noise(64), GREEDY, resume=resume_after(windows[:1]))


def test_a_language_that_the_model_lacks_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match="yue"):
        our_windows(short_toy(1), noise(1), replace(GREEDY, language="yue"))


def test_a_window_is_encoded_once_for_all_temperatures() -> None:
    model = short_toy(0)
    reference = ReferenceModel(model, seed=0)
    steps = transcription_steps(LogMel(noise(20), 80), reference.traits, LADDER)
    requests = []
    step = next(steps)
    while not isinstance(step, WindowResult):
        requests.append(step)
        step = steps.send(reference.serve(step))
    assert len(requests) > 2
    assert [isinstance(request, Encode) for request in requests] == [True] + [False] * (len(requests) - 1)


@pytest.mark.usefixtures("alignment")
def test_a_window_that_never_moves_on_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the last word's end is rounded to the window's start, window after window."""
    monkeypatch.setattr("whisper_core.transcribe.MAX_SEGMENTS_WITHOUT_PROGRESS", 3)
    monkeypatch.setattr("whisper_core.transcribe._Transcription._seek_after_words", lambda self, *_: self.seek)
    transcript, windows = our_windows(short_toy(1), noise(40), WORDS)
    assert transcript is not None
    assert {window.checkpoint.seek for window in windows} == {0, 3000, 4000}


@pytest.mark.usefixtures("alignment")
def test_an_upstream_result_can_be_read_as_a_transcript() -> None:
    result = upstream_result(short_toy(1), noise(35), WORDS)
    assert set(result) == {"text", "segments", "language"}
    assert Transcript.from_dict(result).to_dict() == {**result, "precision": None}
