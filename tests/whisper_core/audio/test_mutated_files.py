"""Hundreds of damaged recordings through the real decoder: only documented outcomes, and nothing is left."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from errors import AudioTooLongError, DecodeTimeoutError, EmptyFileError, NoAudioStreamError, UnsupportedMediaError
from tests.whisper_core.audio.media_corpus import MediaCorpus
from whisper_core.audio.decode import AudioDecoder, DecodeLimits, find_ffmpeg

REFUSALS = (UnsupportedMediaError, NoAudioStreamError, AudioTooLongError, DecodeTimeoutError, EmptyFileError)
MAX_SECONDS = 60.0
FEW, MANY = 48, 500
SETTLED_AFTER = 20  # decodes after which this process has loaded and allocated what it needs

NewChildren = Callable[[], list[psutil.Process]]


def decode_all(corpus: MediaCorpus, destination: Path, seeds: list[int]) -> None:
    decoder = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=MAX_SECONDS, timeout_s=30))
    me = psutil.Process()
    memory = descriptors = 0
    for number, seed in enumerate(seeds):
        source = corpus.mutated(seed)
        try:
            decoded = decoder.decode(source, destination)
        except REFUSALS:
            assert list(destination.parent.iterdir()) == [], f"seed {seed}"
        else:
            assert 0 < decoded.seconds <= MAX_SECONDS, f"seed {seed}"
            assert destination.stat().st_size == 2 * decoded.sample_count, f"seed {seed}"
            destination.unlink()
        source.unlink()
        if number == SETTLED_AFTER:
            memory, descriptors = me.memory_info().rss, me.num_fds()
    assert me.memory_info().rss - memory < 30_000_000
    assert me.num_fds() <= descriptors


@pytest.fixture
def assert_nothing_left(
    new_children: NewChildren, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def check() -> None:
        assert new_children() == []
        assert list(folder.iterdir()) == []

    return check


def test_damaged_recordings_have_documented_outcomes_only(
    corpus: MediaCorpus, destination: Path, assert_nothing_left: Callable[[], None]
) -> None:
    decode_all(corpus, destination, list(range(FEW)))
    assert_nothing_left()


@pytest.mark.slow
@pytest.mark.hypothesis
def test_many_damaged_recordings_have_documented_outcomes_only(
    corpus: MediaCorpus, destination: Path, assert_nothing_left: Callable[[], None], pytestconfig: pytest.Config
) -> None:
    """Always the same ones, and others in each run of `make fuzz`, which its SEED repeats."""
    run = pytestconfig.getoption("hypothesis_seed", None) or "1000"
    decode_all(corpus, destination, random.Random(run).sample(range(10**9), MANY))
    assert_nothing_left()
