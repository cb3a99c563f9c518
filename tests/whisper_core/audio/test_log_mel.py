"""The features window by window are openai-whisper's features of the whole file, bit for bit."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim

from whisper_core.audio.log_mel import LogMel
from whisper_core.audio.sample_file import SampleFile
from whisper_core.common.units import WINDOW_FRAMES
from whisper_core.worker.memory_meter import CpuMeter

RATE = 16_000
LENGTHS = (0, 1, 159, 160, 199, 200, 201, 1600, RATE + 1, N_SAMPLES - 1, N_SAMPLES, N_SAMPLES + 77, 125 * RATE + 399)


def noise(num_samples: int, seed: int = 0) -> npt.NDArray[np.int16]:
    """Noise whose loudness changes, so that the maximum of the file is not in every window."""
    random = np.random.default_rng(seed)
    loudness = np.interp(
        np.arange(num_samples), np.arange(0, num_samples + RATE * 7, RATE * 7), _levels(random, num_samples)
    )
    return (random.standard_normal(num_samples) * loudness).clip(-32768, 32767).astype(np.int16)


def _levels(random: np.random.Generator, num_samples: int) -> npt.NDArray[np.float64]:
    return 10 ** random.uniform(0, 4.3, len(np.arange(0, num_samples + RATE * 7, RATE * 7)))


def upstream(samples: npt.NDArray[np.int16], n_mels: int) -> torch.Tensor:
    return log_mel_spectrogram(samples.astype(np.float32) / 32768.0, n_mels, padding=N_SAMPLES)


def assert_same_windows(samples: npt.NDArray[np.int16], n_mels: int) -> None:
    expected = upstream(samples, n_mels)
    mel = LogMel(samples, n_mels)
    assert mel.content_frames == expected.shape[-1] - N_FRAMES
    assert torch.equal(mel.opening().tensor(), pad_or_trim(expected, N_FRAMES))
    for first in (0, 1, 2, 1737, *range(2998, mel.content_frames, 2998)):
        frames = min(WINDOW_FRAMES, mel.content_frames - first)
        if frames > 0:
            wanted = pad_or_trim(expected[:, first : first + frames], N_FRAMES)
            assert torch.equal(mel.window(first, frames).tensor(), wanted)


@pytest.mark.parametrize("num_samples", LENGTHS)
def test_every_window_of_any_length_is_equal(num_samples: int) -> None:
    assert_same_windows(noise(num_samples), 80)


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("value", [0, 1, -32768, 32767])
def test_constant_samples_are_equal(value: int, n_mels: int) -> None:
    assert_same_windows(np.full(RATE * 3, value, dtype=np.int16), n_mels)


def test_one_thread_gives_the_same_bits_as_two() -> None:
    samples = noise(RATE * 40)
    torch.set_num_threads(2)
    two = LogMel(samples, 80).window(500, WINDOW_FRAMES).tensor()
    torch.set_num_threads(1)
    assert torch.equal(LogMel(samples, 80).window(500, WINDOW_FRAMES).tensor(), two)


def test_a_file_is_read_like_an_array(tmp_path: Path) -> None:
    path, samples = tmp_path / "samples.pcm", noise(RATE * 65 + 1)
    samples.tofile(path)
    expected = LogMel(samples, 80)
    mapped = LogMel(np.memmap(path, dtype="<i2", mode="r"), 80)
    with SampleFile(path) as file:
        path.unlink()
        read = LogMel(file, 80)
        for first in (0, 3000, 6000):
            frames = min(WINDOW_FRAMES, expected.content_frames - first)
            wanted = expected.window(first, frames).tensor()
            assert torch.equal(mapped.window(first, frames).tensor(), wanted)
            assert torch.equal(read.window(first, frames).tensor(), wanted)


@pytest.mark.parametrize("part", [slice(0, 5), slice(3, 9), slice(8, 20), slice(20, 30), slice(5, 2)])
def test_a_file_is_sliced_like_an_array(part: slice, tmp_path: Path) -> None:
    samples = np.arange(10, dtype=np.int16)
    samples.tofile(tmp_path / "samples.pcm")
    with SampleFile(tmp_path / "samples.pcm") as file:
        assert len(file) == 10
        assert file[part].tolist() == samples[part].tolist()


def test_a_closed_file_cannot_be_read(tmp_path: Path) -> None:
    noise(100).tofile(tmp_path / "samples.pcm")
    file = SampleFile(tmp_path / "samples.pcm")
    file.close()
    with pytest.raises(OSError, match="closed"):
        file[0:5]


def test_nothing_is_read_before_a_window_is_wanted() -> None:
    samples = Counted(noise(RATE * 65))
    mel = LogMel(samples, 80)
    window, opening = mel.window(3000, 3000), mel.opening()
    assert samples.num_reads == 0
    mel.prepare()
    after_preparing = samples.num_reads
    assert torch.equal(window.tensor(), LogMel(noise(RATE * 65), 80).window(3000, 3000).tensor())
    assert samples.num_reads == after_preparing + 1
    assert torch.equal(opening.tensor(), mel.window(0, 3000).tensor())


def test_a_recording_may_be_read_in_another_mode_than_it_was_opened_in() -> None:
    """As one is that the engine's thread opens and the encoder's thread reads."""
    samples = noise(RATE * 40)
    with torch.inference_mode():
        mel = LogMel(samples, 80)
    assert torch.equal(mel.window(0, 3000).tensor(), LogMel(samples, 80).window(0, 3000).tensor())


class Counted:
    def __init__(self, samples: npt.NDArray[np.int16]) -> None:
        self.num_reads = 0
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, part: slice) -> npt.NDArray[np.int16]:
        self.num_reads += 1
        return self._samples[part]


def test_two_threads_read_one_file(tmp_path: Path) -> None:
    """As the encoder's thread and the engine's may."""
    samples = noise(RATE * 130)
    samples.tofile(tmp_path / "samples.pcm")
    starts = [range(0, len(samples) - 1000, 997), range(500, len(samples) - 1000, 1009)]
    together = threading.Barrier(2)

    def read(starts: range) -> bool:
        together.wait()
        return all(np.array_equal(file[start : start + 1000], samples[start : start + 1000]) for start in starts)

    with SampleFile(tmp_path / "samples.pcm") as file, ThreadPoolExecutor(2) as pool:
        assert list(pool.map(read, starts)) == [True, True]


def test_a_long_recording_takes_no_more_memory_than_a_short_one() -> None:
    """Anything kept between windows would keep the heap from shrinking; once it was a megabyte per window."""
    meter = CpuMeter()
    LogMel(noise(RATE * 60), 80).prepare()
    meter.mark()
    LogMel(np.broadcast_to(np.int16(100), RATE * 3600), 80).prepare()
    assert meter.peak_since_mark() < 60_000_000
