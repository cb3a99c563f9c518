"""Threads of torch and numba, and recordings as samples."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.whisper_core.parity import Samples, SamplesOf
from whisper_core.audio.decode import AudioDecoder, DecodeLimits, find_ffmpeg
from whisper_core.audio.vad import WINDOW_SAMPLES


class LoudScan:
    """Speech is whatever is not silent."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.num_windows = -(-len(samples) // WINDOW_SAMPLES)

    def probabilities(self, first: int, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        heard = self._samples[first * WINDOW_SAMPLES : (first + count) * WINDOW_SAMPLES] != 0
        return np.logical_or.reduceat(heard, range(0, len(heard), WINDOW_SAMPLES)).astype(np.float32)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Every test begins with one thread, whatever the one before it set: sums of two differ in their last bits."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def alignment() -> None:
    """numba compiled and set to one thread: it shares OpenMP with torch, and sets torch's number too."""
    import numba
    from whisper.timing import dtw_cpu

    dtw_cpu(np.zeros((2, 2)))
    numba.set_num_threads(1)


@pytest.fixture(scope="session")
def samples_of(tmp_path_factory: pytest.TempPathFactory) -> SamplesOf:
    """What a recording decodes to; each is decoded once."""
    folder = tmp_path_factory.mktemp("samples")
    decoder = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=4000, timeout_s=120))

    @cache
    def decoded(path: Path) -> Samples:
        decoder.decode(path, folder / f"{path.name}.pcm")
        samples = np.fromfile(folder / f"{path.name}.pcm", dtype="<i2")
        samples.setflags(write=False)
        return samples

    return decoded


@pytest.fixture
def loud_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_core.chunked.SpeechScan", LoudScan)
