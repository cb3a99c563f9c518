"""The batch engine's transcripts are openai-whisper's, whatever else is in the batch.

Random weights make long odd sequences, so that every rule is reached; real speech is in test_speech.py. The expected
transcripts come from upstream's decoding, reseeded for every window, because the engine draws from a task's own
generator.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from whisper.model import Whisper

from tests.slow_cases import slow
from tests.whisper_core.engine.driving import (
    GREEDY,
    MODEL,
    Observer,
    advance_until,
    alone_by_reference,
    assert_same,
    engine_with,
    run_until_idle,
    start_task,
    transcribe_together,
    write_samples,
)
from tests.whisper_core.parity import RATE, Samples, noise, short_toy
from tests.whisper_core.toy_model import toy_model
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.model_requests import DEFAULT_SETTINGS, DecodeSettings
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript

LADDER = TranscribeOptions(language="en")


HALF_WAY = DecodeSettings(logprob_threshold=-1.2, compression_ratio_threshold=1.9, temperatures=(0.0, 0.3, 0.9))


def check(
    model: Whisper,
    recordings: list[Samples],
    options: TranscribeOptions,
    folder: Path,
    settings: DecodeSettings = DEFAULT_SETTINGS,
) -> list[Transcript]:
    together = transcribe_together(model, recordings, options, settings, folder, seed=5)
    for samples, ours in zip(recordings, together, strict=True):
        assert_same(ours, alone_by_reference(model, samples, options, settings, seed=5))
    return together


@pytest.mark.parametrize("seconds", [0.001, slow(0.1), 30.0, 30.01, slow(35.0)])
def test_at_every_length(seconds: float, tmp_path: Path) -> None:
    check(short_toy(1), [noise(seconds), noise(7, 1)], GREEDY, tmp_path)


@pytest.mark.parametrize(("seed", "sharpness"), [(1, 0.1), slow(3, 0.6), (5, 3.0)])
def test_for_flat_and_for_sharp_models(seed: int, sharpness: float, tmp_path: Path) -> None:
    check(short_toy(seed, sharpness=sharpness), [noise(35, seed), noise(12, seed + 1)], GREEDY, tmp_path)


def test_silence_and_full_scale_beside_noise(tmp_path: Path) -> None:
    recordings = [np.zeros(RATE * 31, np.int16), np.full(RATE * 2, -32768, np.int16), noise(40)]
    check(short_toy(2), recordings, GREEDY, tmp_path)


def test_on_the_temperature_ladder(tmp_path: Path) -> None:
    check(short_toy(0, n_text_ctx=24), [noise(31), noise(12, 4)], LADDER, tmp_path)


def test_when_the_ladder_stops_half_way(tmp_path: Path) -> None:
    """Some windows fall back and some do not, each drawing from its own task's generator."""
    model = short_toy(3, sharpness=1.0, n_text_ctx=30)
    together = check(model, [noise(35, seed) for seed in (3, 4, 5)], LADDER, tmp_path, HALF_WAY)
    temperatures = {segment.temperature for transcript in together for segment in transcript.segments}
    assert temperatures == set(HALF_WAY.temperatures)


def test_the_language_is_detected(tmp_path: Path) -> None:
    check(short_toy(1), [noise(3.0, 1), noise(35.0, 2)], TranscribeOptions(temperature=0.0), tmp_path)


def test_an_english_only_model(tmp_path: Path) -> None:
    check(short_toy(4, is_multilingual=False), [noise(35)], TranscribeOptions(temperature=0.0), tmp_path)


def test_translation_beside_transcription(tmp_path: Path) -> None:
    model, options = short_toy(5), [replace(GREEDY, language="it", task=task) for task in ("translate", "transcribe")]
    together = transcribe_together(model, [noise(35)] * 2, options, DEFAULT_SETTINGS, tmp_path)
    for ours, wanted in zip(together, options, strict=True):
        assert_same(ours, alone_by_reference(model, noise(35), wanted, DEFAULT_SETTINGS))


@pytest.mark.parametrize("conditions", [True, False])
def test_prompts_of_every_length_in_one_batch(conditions: bool, tmp_path: Path) -> None:
    model, settings = short_toy(6, n_text_ctx=80), DecodeSettings(condition_on_previous_text=conditions)
    prompts = [None, "", "  names: Ångström, 東京 ", "long " * 60]
    options = [replace(GREEDY, initial_prompt=prompt) for prompt in prompts]
    together = transcribe_together(model, [noise(8)] * len(prompts), options, settings, tmp_path)
    for ours, wanted in zip(together, options, strict=True):
        assert_same(ours, alone_by_reference(model, noise(8), wanted, settings))


def test_the_longest_prompt_and_then_as_many_tokens_as_fit(tmp_path: Path) -> None:
    """227 tokens before the first, so 448 positions are full before 224 tokens are sampled."""
    model = toy_model(12)
    options = replace(GREEDY, initial_prompt="word " * 400)
    check(model, [noise(10)], options, tmp_path)


@pytest.mark.usefixtures("alignment")
@pytest.mark.parametrize(("seed", "language"), [(0, "en"), (1, "ja")])
def test_word_timestamps(seed: int, language: str, tmp_path: Path) -> None:
    options = replace(GREEDY, language=language, word_timestamps=True)
    check(short_toy(seed), [noise(35, seed)], options, tmp_path)


def test_beam_search(tmp_path: Path) -> None:
    settings = DecodeSettings(beam_size=5, patience=1.5)
    check(short_toy(9, n_text_ctx=30), [noise(31), noise(5, 1), noise(20, 2)], GREEDY, tmp_path, settings)


def test_the_best_of_several_samples_after_beam_search(tmp_path: Path) -> None:
    settings = DecodeSettings(temperatures=(0.0, 0.5), beam_size=2, best_of=3)
    check(short_toy(10, n_text_ctx=30), [noise(31), noise(10, 1)], LADDER, tmp_path, settings)


SEARCHES = {
    "greedy": LADDER,
    "one beam": replace(GREEDY, beam_size=1),
    "beams": replace(GREEDY, beam_size=5, patience=2.0, length_penalty=0.3),
    "beams, then samples": replace(LADDER, beam_size=2, best_of=3, length_penalty=1.0),
    "samples": replace(LADDER, temperature=0.6, best_of=4),
    "few tokens suppressed": replace(GREEDY, suppress_tokens="11,13,257"),
    "more tokens suppressed": replace(GREEDY, suppress_tokens="-1,262,290", beam_size=2),
    "no token suppressed": replace(LADDER, suppress_tokens=""),
}


def test_every_search_beside_every_other_in_one_engine(tmp_path: Path) -> None:
    model, options = short_toy(3, n_text_ctx=20), list(SEARCHES.values())
    together = transcribe_together(model, [noise(8)] * len(options), options, None, tmp_path, seed=5, slots=3)
    for name, ours in zip(SEARCHES, together, strict=True):
        assert_same(ours, alone_by_reference(model, noise(8), SEARCHES[name], None, seed=5))
    assert len({ours.text for ours in together}) >= 4


def test_slots_of_beams_are_freed_when_their_task_ends_though_others_go_on(tmp_path: Path) -> None:
    """The memory that was reserved for the task is given to others then."""
    short, long = Observer(), Observer()
    with engine_with(short_toy(3, n_text_ctx=24), None) as engine:
        batches = engine._models[MODEL]._pipeline._batches
        start_task(engine, write_samples(tmp_path / "long.pcm", noise(95)), GREEDY, long)
        start_task(engine, write_samples(tmp_path / "short.pcm", noise(2)), replace(GREEDY, beam_size=3), short)
        advance_until(engine, lambda: bool(batches.get(SlotKind(3)) and batches.get(SlotKind(1))))
        advance_until(engine, lambda: short.is_done)
        assert not long.is_done
        assert set(batches) == {SlotKind(1)}
        run_until_idle(engine)
    assert [short.error, long.error] == [None, None]


@pytest.mark.parametrize("logprob_threshold", [None, slow(-1.0), -100.0])
def test_windows_that_are_skipped_as_silence(logprob_threshold: float | None, tmp_path: Path) -> None:
    settings = DecodeSettings(no_speech_threshold=1e-6, logprob_threshold=logprob_threshold)
    check(short_toy(1, sharpness=0.6, n_text_ctx=24), [noise(35, 1), noise(50, 2)], GREEDY, tmp_path, settings)


@cache
def batch() -> tuple[Whisper, list[Samples], list[Transcript]]:
    """Recordings of odd lengths, and what is said in them."""
    model = short_toy(13, n_text_ctx=24)
    recordings = [noise(1.0 + 5.3 * number, number) for number in range(8)]
    return model, recordings, [alone_by_reference(model, samples, GREEDY, DEFAULT_SETTINGS) for samples in recordings]


@pytest.mark.parametrize(
    ("slots", "order"),
    [(1, range(3, 5)), (2, range(8)), slow(3, range(7, -1, -1)), slow(7, range(8)), (16, range(7, -1, -1))],
)
def test_batches_of_every_size(slots: int, order: range, tmp_path: Path) -> None:
    """More recordings than slots, or fewer, in two orders."""
    model, recordings, expected = batch()
    chosen = [recordings[number] for number in order]
    together = transcribe_together(model, chosen, GREEDY, DEFAULT_SETTINGS, tmp_path, slots=slots)
    for number, ours in zip(order, together, strict=True):
        assert_same(ours, expected[number])


@pytest.mark.usefixtures("alignment")
def test_each_task_is_decoded_by_its_own_options(tmp_path: Path) -> None:
    """Also where they are decoded together. settings: None, as in the server, so the options' own."""
    model = short_toy(6, n_text_ctx=30)
    options = [
        GREEDY,
        replace(GREEDY, condition_on_previous_text=False, hotwords="Ann"),
        replace(GREEDY, no_speech_threshold=0.0, logprob_threshold=None),
        replace(GREEDY, clip_timestamps="2,9,20"),
        replace(GREEDY, word_timestamps=True, hallucination_silence_threshold=1.0),
    ]
    together = transcribe_together(model, [noise(35)] * len(options), options, None, tmp_path)
    for ours, wanted in zip(together, options, strict=True):
        assert_same(ours, alone_by_reference(model, noise(35), wanted, None))
    assert len({transcript.text for transcript in together}) >= 3
