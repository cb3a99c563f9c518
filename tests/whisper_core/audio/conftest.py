"""A corpus of media, a decoder, and a place for its samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.whisper_core.audio.decoding import GENEROUS
from tests.whisper_core.audio.media_corpus import MediaCorpus
from whisper_core.audio.decode import AudioDecoder, find_ffmpeg


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> MediaCorpus:
    return MediaCorpus(tmp_path_factory.mktemp("media"))


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    return folder / "task.pcm"


@pytest.fixture
def decoder() -> AudioDecoder:
    return AudioDecoder(find_ffmpeg(), GENEROUS)


@pytest.fixture
def new_children() -> Callable[[], list[psutil.Process]]:
    """Child processes that this test has started; those of the whole session are older."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: [child for child in psutil.Process().children(recursive=True) if child not in before]
