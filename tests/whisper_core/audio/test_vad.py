"""The probabilities of speech are silero-vad's own, whichever part of a recording is requested."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.paths import DATA, ROOT
from tests.whisper_core.parity import RATE, Samples, SamplesOf, noise
from whisper_core.audio.vad import WINDOW_SAMPLES, SpeechScan

WARM_UP_S = 4.096
SCANNED_AT_ONCE_S = 131.072


@pytest.fixture(scope="module")
def speech(samples_of: SamplesOf) -> Samples:
    """About a minute of a woman's voice."""
    return samples_of(DATA / "dev-minute-01.flac")


def whole(samples: Samples) -> npt.NDArray[np.float32]:
    return SpeechScan(samples).probabilities(0, len(samples))


@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*:DeprecationWarning")
def test_the_probabilities_are_silero_vads_own(speech: Samples) -> None:
    """Its script computes one window at a time, here after as much silence as is put before a recording."""
    model = torch.jit.load(str(distribution("silero-vad").locate_file("silero_vad/data/silero_vad.jit")))
    heard = np.concatenate([np.zeros(round(WARM_UP_S * RATE), np.int16), speech[: 10 * RATE]])
    windows = torch.from_numpy(heard.astype(np.float32) / 32768.0).split(WINDOW_SAMPLES)[:-1]
    with torch.no_grad():
        expected = [model(window.unsqueeze(0), RATE).item() for window in windows]
    found = whole(speech)[: len(expected) - 128]
    np.testing.assert_allclose(found, expected[128:], atol=1e-4)
    assert {0, 1} == {round(float(probability)) for probability in found}


def test_a_part_has_the_same_probabilities_as_in_the_whole(speech: Samples) -> None:
    samples = np.tile(speech, 3)
    assert len(samples) > SCANNED_AT_ONCE_S * RATE
    expected = whole(samples)
    assert len(expected) == SpeechScan(samples).num_windows == -(-len(samples) // WINDOW_SAMPLES)
    for first, count in [(5000, 400), (4095, 2), (0, 1), (4000, 200), (6000, 10_000), (len(expected), 5)]:
        part = SpeechScan(samples).probabilities(first, count)
        assert np.array_equal(part, expected[first : first + count])


def test_speech_is_told_from_noise_and_from_silence(speech: Samples) -> None:
    assert (whole(speech) > 0.5).mean() > 0.7
    assert whole(noise(20)).max() < 0.5
    assert whole(np.zeros(20 * RATE, np.int16)).max() < 0.1


@pytest.mark.parametrize("num_samples", [0, 1, 512, 513])
def test_the_shortest_recordings(num_samples: int) -> None:
    assert len(whole(np.zeros(num_samples, np.int16))) == -(-num_samples // WINDOW_SAMPLES)


def test_the_number_of_threads_stays_as_it_was() -> None:
    """Importing the package would set it to 1."""
    code = (
        "import sys, numpy, torch\n"
        "torch.set_num_threads(2)\n"
        "from whisper_core.audio.vad import SpeechScan\n"
        "SpeechScan(numpy.zeros(1000, numpy.int16)).probabilities(0, 2)\n"
        "print(torch.get_num_threads(), 'silero_vad' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("2 False\n", "")
