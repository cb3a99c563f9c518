"""Models of other dimensions than openai-whisper's, as people distil them, computed as openai-whisper computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import whisper

from tests.whisper_core.checkpoint_files import write_checkpoint
from tests.whisper_core.engine.driving import GREEDY, alone_by_reference, assert_same, transcribe_together
from tests.whisper_core.ggml_files import write_ggml
from tests.whisper_core.parity import noise
from tests.whisper_core.toy_model import toy_dimensions
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.model_requests import DEFAULT_SETTINGS
from whisper_core.models.load import load_model
from whisper_core.text.languages import LANGUAGES

SHORT = replace(toy_dimensions(), n_text_ctx=24)  # 12 tokens a window at most


@pytest.mark.parametrize(
    ("write", "dims", "languages"),
    [
        pytest.param(
            write_checkpoint,
            replace(SHORT, n_vocab=51_866, n_mels=128, n_audio_layer=3, n_text_layer=1),
            100,
            id="as distil-large-v3",
        ),
        pytest.param(
            write_checkpoint,
            replace(SHORT, n_vocab=51_864, n_text_layer=1),
            1,
            id="English, one layer",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            write_ggml,
            replace(SHORT, n_audio_layer=3, n_text_layer=2),
            99,
            id="two layers of three",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_distilled_model_is_computed_as_openai_whisper_computes_it(
    tmp_path: Path, write: Callable[..., Path], dims: ModelDimensions, languages: int
) -> None:
    write(tmp_path / ("mine.pt" if write is write_checkpoint else "mine.bin"), dims)
    original = whisper.load_model(str(write_checkpoint(tmp_path / "upstream" / "mine.pt", dims)), device="cpu")
    options = replace(GREEDY, language="en" if languages == 1 else list(LANGUAGES)[languages - 1], word_timestamps=True)
    samples = noise(3, 1)
    expected = alone_by_reference(original, samples, options, DEFAULT_SETTINGS)
    (found,) = transcribe_together(load_model("mine", tmp_path, "cpu"), [samples], options, DEFAULT_SETTINGS, tmp_path)
    assert expected.has_words
    assert_same(found, expected)
