"""Recordings transcribed with the GPU's kernels in Triton's interpreter: the same texts, in all they are used for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.whisper_core.engine.as_on_gpu import UnpreparedLaunch, as_on_gpu
from tests.whisper_core.engine.driving import GREEDY, alone_by_reference, assert_same, transcribe_together
from tests.whisper_core.parity import noise, short_toy
from whisper_core.engine import batch_engine, loaded_model
from whisper_core.engine.decoding.step_kernels import triton_kernels
from whisper_core.model_requests import DEFAULT_SETTINGS, DecodeSettings
from whisper_core.text.options import TranscribeOptions

# The interpreter computes with NumPy, which warns of infinities that a GPU computes with, and of rows of NaN that
# nobody reads.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SAMPLED = TranscribeOptions(language="en", temperature=0.4)
BEAMS = DecodeSettings(temperatures=(0.0,), beam_size=2)


@pytest.fixture(autouse=True)
def _kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(loaded_model, "step_kernels_for", lambda dims: triton_kernels())
    monkeypatch.setitem(batch_engine.ENCODER_BATCH, "cpu", 4)  # so that several prompts are read together
    with as_on_gpu(UnpreparedLaunch):
        yield


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        pytest.param(GREEDY, DEFAULT_SETTINGS, id="greedy"),
        pytest.param(SAMPLED, DEFAULT_SETTINGS, id="sampled", marks=pytest.mark.slow),
        pytest.param(GREEDY, BEAMS, id="beams", marks=pytest.mark.slow),
    ],
)
def test_the_texts_are_the_same(options: TranscribeOptions, settings: DecodeSettings, tmp_path: Path) -> None:
    model, recordings = short_toy(13, n_text_ctx=20), [noise(3), noise(4, 1), noise(5, 2)]
    together = transcribe_together(model, recordings, options, settings, tmp_path, slots=4, seed=5)
    for samples, ours in zip(recordings, together, strict=True):
        assert_same(ours, alone_by_reference(model, samples, options, settings, seed=5))
