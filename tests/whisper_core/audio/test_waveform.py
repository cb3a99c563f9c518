"""The waveform that is made while a recording is decoded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from whisper_core.audio.waveform import FINEST, FULL_SCALE, MOST_PEAKS, Waveform, WaveformMeter


def measured(samples: npt.NDArray[np.float32], piece: int) -> Waveform:
    meter = WaveformMeter()
    for first in range(0, len(samples), piece):
        meter.add(samples[first : first + piece])
    waveform = meter.waveform()
    assert waveform is not None
    return waveform


def loudest_parts(samples: npt.NDArray[np.float32], size: int) -> list[int]:
    return [
        round(float(abs(samples[at : at + size]).max()) * FULL_SCALE / 32768) for at in range(0, len(samples), size)
    ]


@pytest.mark.parametrize("piece", [7, 320, 4096, 100_000])
def test_each_peak_is_the_loudest_sample_of_its_part_whatever_the_pieces(piece: int) -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, 40_123).astype(np.float32)
    waveform = measured(samples, piece)
    assert waveform.seconds_per_peak == 0.02
    assert list(waveform.peaks) == loudest_parts(samples, FINEST)


@pytest.mark.parametrize("extra", [0, 1, 2, 3])
def test_a_long_recording_has_coarser_peaks_and_not_more(extra: int) -> None:
    count = 2 * MOST_PEAKS + extra
    samples = np.repeat(np.random.default_rng(extra).integers(0, 30_000, count), FINEST).astype(np.float32)
    waveform = measured(samples, 65_536)
    assert waveform.samples_per_peak == (2 if extra < 2 else 4) * FINEST
    assert len(waveform.peaks) <= MOST_PEAKS + 1  # the last one may be of few samples
    difference = np.array(list(waveform.peaks)) - np.array(loudest_parts(samples, waveform.samples_per_peak))
    assert np.abs(difference).max() <= 1  # where a peak of an odd number was rounded before


def test_silence_and_nothing() -> None:
    assert set(measured(np.zeros(1000, np.float32), 1000).peaks) == {0}
    assert WaveformMeter().waveform() is None


def test_it_is_read_as_it_was_written_and_anything_else_is_not_read() -> None:
    waveform = Waveform(640, bytes([0, 128, 255]))
    assert Waveform.from_bytes(waveform.to_bytes()) == waveform
    for damaged in (b"", b"PEAK", waveform.to_bytes()[:8], b"XXXX" + waveform.to_bytes()[4:], bytes(12)):
        assert Waveform.from_bytes(damaged) is None
