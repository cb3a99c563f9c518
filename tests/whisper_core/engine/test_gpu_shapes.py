"""The passes that a GPU runs, on the CPU: whatever is in the slots, each recording has the text that it has alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.slow_cases import slow
from tests.whisper_core.engine.as_on_gpu import DirectLaunch, as_on_gpu
from tests.whisper_core.engine.driving import GREEDY, alone_by_reference, assert_same, transcribe_together
from tests.whisper_core.parity import Samples, noise, short_toy
from whisper_core.engine import batch_engine
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.model_requests import DEFAULT_SETTINGS, DecodeSettings
from whisper_core.text.options import TranscribeOptions

LADDER = TranscribeOptions(language="en")
DETECTED = replace(GREEDY, language=None)
FALLBACKS = DecodeSettings(logprob_threshold=-1.2, compression_ratio_threshold=1.9, temperatures=(0.0, 0.3, 0.9))


@pytest.fixture(autouse=True)
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[DirectLaunch]:
    """All passes of the test."""
    monkeypatch.setitem(batch_engine.ENCODER_BATCH, "cpu", 8)
    launch = DirectLaunch()
    with as_on_gpu(lambda: launch):
        yield launch


def check(
    recordings: list[Samples],
    options: TranscribeOptions,
    folder: Path,
    settings: DecodeSettings = DEFAULT_SETTINGS,
    slots: int = 16,
    model: Any = None,
) -> None:
    model = model or short_toy(13)
    together = transcribe_together(model, recordings, options, settings, folder, slots=slots, seed=5)
    for samples, ours in zip(recordings, together, strict=True):
        assert_same(ours, alone_by_reference(model, samples, options, settings, seed=5))


@pytest.mark.parametrize("slots", [slow(1), 3, slow(8)])
def test_padding_changes_no_tokens(slots: int, tmp_path: Path, launched: DirectLaunch) -> None:
    """Windows arrive, finish and are followed by others, so padded rows hold the remains of earlier ones."""
    check([noise(3.0 + 7.3 * number, number) for number in range(7)], GREEDY, tmp_path, slots=slots)
    steps = {key[2] for key in launched.keys if key[0] == "step"}
    # Which of the sizes occur depends on how the two threads meet; test_slot_batch.py covers every size.
    assert steps
    assert steps <= {1, 2, 3, 4, 8}


def test_sampling_beside_greedy_decoding_takes_no_other_pass(tmp_path: Path, launched: DirectLaunch) -> None:
    check([noise(65, seed) for seed in (3, 4, 5)], LADDER, tmp_path, FALLBACKS, model=short_toy(3, sharpness=1.0))
    assert {key[0] for key in launched.keys} == {"encode", "prompt", "step"}


def test_beams_and_the_best_of_several_samples(tmp_path: Path, launched: DirectLaunch) -> None:
    settings = DecodeSettings(temperatures=(0.0, 0.5), beam_size=5, best_of=3)
    check([noise(31), noise(10, 1), noise(5, 2)], LADDER, tmp_path, settings, model=short_toy(10))
    passes = {key[0] for key in launched.keys}
    assert passes >= {"prompt logits", "logits"}


def test_prompts_of_every_length(tmp_path: Path, launched: DirectLaunch) -> None:
    model = short_toy(6, n_text_ctx=448)
    prompts = [None, "a name", "some more names " * 12, "long " * 80, "long " * 300]
    options = [replace(GREEDY, initial_prompt=prompt) for prompt in prompts]
    together = transcribe_together(model, [noise(8)] * len(prompts), options, DEFAULT_SETTINGS, tmp_path)
    for ours, wanted in zip(together, options, strict=True):
        assert_same(ours, alone_by_reference(model, noise(8), wanted, DEFAULT_SETTINGS))
    assert {key[3] for key in launched.keys if key[0] == "prompt"} >= {8, 64, 256}


def test_several_windows_encoded_at_once(tmp_path: Path) -> None:
    check([noise(4.0 + number, number) for number in range(7)], GREEDY, tmp_path)


def test_languages_are_found_while_windows_are_encoded(
    tmp_path: Path, launched: DirectLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody waits for the device: `detect_language` does."""
    model = short_toy(7)
    recordings = [noise(5.0), noise(31.0, 1), noise(12.0, 2)]
    expected = [alone_by_reference(model, samples, DETECTED, DEFAULT_SETTINGS) for samples in recordings]
    monkeypatch.setattr(LoadedModel, "detect_language", None)
    together = transcribe_together(model, recordings, DETECTED, DEFAULT_SETTINGS, tmp_path)
    for ours, theirs in zip(together, expected, strict=True):
        assert_same(ours, theirs)
    assert {key[0] for key in launched.keys} >= {"encode", "language"}
