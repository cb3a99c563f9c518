"""Real speech with real weights: every field of every segment is what whisper.transcribe gives.

Two of the recordings in tests/data; among the slow tests all of them, whole, and those of the folder that SPEECH_DIR
names, or ../shared/speech.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from whisper.model import Whisper

from tests.paths import DATA, MODELS_DIR, ROOT
from tests.whisper_core.parity import SamplesOf, assert_parity, our_windows
from whisper_core.models.load import load_model
from whisper_core.models.weight_files import locate
from whisper_core.text.options import TranscribeOptions
from whisper_core.transcribe import ResumePoint

pytestmark = pytest.mark.models

SPEECH_DIR = Path(os.environ.get("SPEECH_DIR", ROOT.parent / "shared" / "speech"))
RECORDINGS = ["dev-minute-01.flac", "librivox-0930.flac"]  # of several segments, and of a single one
WHOLE_RECORDINGS = sorted({path.name: path for folder in (DATA, SPEECH_DIR) for path in folder.glob("*.flac")}.values())
ONE_WINDOW, TWO_WINDOWS = 10 * 16_000, 33 * 16_000  # samples

PLAIN = TranscribeOptions()
WORDS = TranscribeOptions(word_timestamps=True)


@pytest.fixture(scope="module")
def tiny_en(models_dir: Path) -> Whisper:
    return load_model("tiny.en", models_dir, "cpu")


@pytest.fixture(scope="module")
def base() -> Whisper:
    if locate("base", MODELS_DIR) is None:
        pytest.skip("base is not here: set-up fetches it")
    return load_model("base", MODELS_DIR, "cpu")


@pytest.mark.parametrize("name", RECORDINGS)
def test_tiny_en_says_what_upstream_says(tiny_en: Whisper, name: str, samples_of: SamplesOf) -> None:
    transcript = assert_parity(tiny_en, samples_of(DATA / name)[:TWO_WINDOWS], PLAIN)
    assert len(transcript.text) > 20


@pytest.mark.usefixtures("alignment")
def test_word_timestamps_are_upstream_s(tiny_en: Whisper, samples_of: SamplesOf) -> None:
    transcript = assert_parity(tiny_en, samples_of(DATA / "dev-minute-01.flac")[:TWO_WINDOWS], WORDS)
    assert all(segment.words for segment in transcript.segments)


def test_the_language_is_heard_as_upstream_hears_it(base: Whisper, samples_of: SamplesOf) -> None:
    samples = samples_of(DATA / "dev-spanish.flac")[:ONE_WINDOW]
    assert assert_parity(base, samples, replace(PLAIN, temperature=0.0)).language == "es"


def test_resuming_real_speech_changes_nothing(tiny_en: Whisper, samples_of: SamplesOf) -> None:
    samples = samples_of(DATA / "dev-minute-01.flac")[:TWO_WINDOWS]
    whole, windows = our_windows(tiny_en, samples, PLAIN, task_seed=1)
    assert len(windows) >= 2
    resume = ResumePoint(windows[0].checkpoint, windows[0].segments, 1)
    assert our_windows(tiny_en, samples, PLAIN, task_seed=1, resume=resume) == (whole, windows[1:])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("alignment")
@pytest.mark.parametrize("options", [PLAIN, WORDS], ids=["plain", "words"])
@pytest.mark.parametrize("path", WHOLE_RECORDINGS, ids=lambda path: path.name)
def test_tiny_en_says_what_upstream_says_of_whole_recordings(
    tiny_en: Whisper, path: Path, options: TranscribeOptions, samples_of: SamplesOf
) -> None:
    assert_parity(tiny_en, samples_of(path), options)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_base_translates_as_upstream_does(base: Whisper, samples_of: SamplesOf) -> None:
    assert_parity(base, samples_of(DATA / "dev-spanish.flac"), replace(PLAIN, task="translate"))
