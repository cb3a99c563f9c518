"""The passes that a GPU runs, on the CPU: padded to buckets, prompts by slot, finished rows read one step late.

Nothing here needs a GPU. Whether a GPU computes the same is checked by benchmarks/cuda_all.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.slow_cases import slow
from tests.whisper_core.engine.driving import GREEDY, alone_by_reference, assert_same, transcribe_together
from tests.whisper_core.engine.fake_cuda import fake_cuda
from tests.whisper_core.parity import Samples, noise, short_toy
from whisper_core.engine import batch_engine
from whisper_core.engine.decoding import slot_batch
from whisper_core.engine.decoding.cuda_graphs import PassSizes
from whisper_core.engine.decoding.finished_rows import LaggedReadback
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import DecoderDims
from whisper_core.model_requests import DEFAULT_SETTINGS, DecodeSettings
from whisper_core.text.options import TranscribeOptions

LADDER = TranscribeOptions(language="en")


class Recorder:
    """Launches passes directly, and records their keys."""

    def __init__(self) -> None:
        self.keys: set[Any] = set()

    def __call__(self, key: Any, work: Callable[[], Any]) -> Any:
        self.keys.add(key)
        return work()


@pytest.fixture(autouse=True)
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A slot batch as on a GPU, in memory that was full of NaN before."""
    recorder, empty = Recorder(), CrossCache.empty

    def full_of_nan(dims: DecoderDims, slots: int) -> CrossCache:
        cache = empty(dims, slots)
        cache.keys.fill_(torch.nan)
        cache.values.fill_(torch.nan)
        return cache

    def sizes(most_slots: int, most_positions: int, has_buckets: bool) -> PassSizes:
        return PassSizes(most_slots, most_positions, has_buckets=True)

    monkeypatch.setattr(slot_batch, "PassSizes", sizes)
    monkeypatch.setattr(slot_batch, "launch_on", lambda device, slots: recorder)
    monkeypatch.setattr(slot_batch, "readback_for", lambda device: LaggedReadback())
    monkeypatch.setattr(CrossCache, "empty", full_of_nan)
    with fake_cuda():
        yield recorder


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
def test_padding_changes_no_tokens(slots: int, tmp_path: Path, launched: Recorder) -> None:
    """Windows arrive, finish, move and are followed by others, so padded rows hold the remains of earlier ones."""
    check([noise(3.0 + 7.3 * number, number) for number in range(7)], GREEDY, tmp_path, slots=slots)
    steps = {key[1] for key in launched.keys if key[0] == "greedy step"}
    # Which of the sizes occur depends on how the two threads meet; test_slot_batch.py covers every size.
    assert steps
    assert steps <= {1, 2, 3, 4, 8}


def test_sampling_beside_greedy_decoding(tmp_path: Path, launched: Recorder) -> None:
    settings = DecodeSettings(logprob_threshold=-1.2, compression_ratio_threshold=1.9, temperatures=(0.0, 0.3, 0.9))
    model = short_toy(3, sharpness=1.0)
    check([noise(65, seed) for seed in (3, 4, 5)], LADDER, tmp_path, settings, model=model)
    assert {key[0] for key in launched.keys} == {"prompt", "greedy step", "logits"}


def test_beams_and_the_best_of_several_samples(tmp_path: Path, launched: Recorder) -> None:
    settings = DecodeSettings(temperatures=(0.0, 0.5), beam_size=5, best_of=3)
    check([noise(31), noise(10, 1), noise(5, 2)], LADDER, tmp_path, settings, model=short_toy(10))
    assert {key[1] for key in launched.keys if key[0] == "logits"} <= {1, 2, 3, 4}


def test_prompts_of_every_bucket(tmp_path: Path, launched: Recorder) -> None:
    model = short_toy(6, n_text_ctx=448)
    prompts = [None, "a name", "some more names " * 12, "long " * 80, "long " * 300]
    options = [replace(GREEDY, initial_prompt=prompt) for prompt in prompts]
    together = transcribe_together(model, [noise(8)] * len(prompts), options, DEFAULT_SETTINGS, tmp_path)
    for ours, wanted in zip(together, options, strict=True):
        assert_same(ours, alone_by_reference(model, noise(8), wanted, DEFAULT_SETTINGS))
    assert {key[1] for key in launched.keys if key[0] == "prompt"} >= {8, 64, 128, 256}


def test_several_windows_encoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(batch_engine.ENCODER_BATCH, "cpu", 8)
    check([noise(4.0 + number, number) for number in range(7)], GREEDY, tmp_path)
