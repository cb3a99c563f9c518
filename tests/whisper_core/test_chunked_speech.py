"""mode=vad understands real speech."""

from __future__ import annotations

from typing import Any

import jiwer
import pytest
from whisper.normalizers import EnglishTextNormalizer

from tests.whisper_core.chunked_driving import transcribed
from tests.whisper_core.parity import Samples, SamplesOf
from whisper_core.models.load import load_model
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.options import TranscribeOptions

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def recording(recordings: list[dict[str, Any]], samples_of: SamplesOf) -> tuple[Samples, str]:
    """A minute of real speech and what is said in it."""
    entry = next(entry for entry in recordings if entry["file"] == "dev-minute-01.flac")
    return samples_of(entry["path"]), entry["text"]


def test_real_speech_is_understood(models_dir: Any, recording: tuple[Samples, str]) -> None:
    samples, spoken = recording
    model = ReferenceModel(load_model("tiny.en", models_dir, "cpu"), seed=0)
    transcript, windows = transcribed(model.serve, samples, TranscribeOptions(mode="vad"), model=model)
    normalise = EnglishTextNormalizer()
    assert jiwer.wer(normalise(spoken), normalise(transcript.text)) < 0.06
    assert len(windows) >= 3
    assert all(0 < segment.end - segment.start < 20 for segment in transcript.segments)
    assert sorted(transcript.segments, key=lambda segment: segment.start) == list(transcript.segments)
