"""Log-mel features of a recording, window by window, without ever holding those of the whole recording.

openai-whisper computes the features of a whole file at once (several GB of memory for 3 hours) because of one number:
the floor, 8 below the file's maximum. Here a first pass finds that number, and a window is computed when it is wanted.
The values are the same bit for bit (tests/whisper_core/audio/test_log_mel.py). A pass took about 1 s an hour of audio
on one core of the development machine, because a window's intermediates stay in the cache.

On a GPU the same is computed there, and differs from upstream's in the last bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from whisper.audio import mel_filters

from whisper_core.audio.decode import SAMPLE_RATE
from whisper_core.text.transcript import FRAMES_PER_SECOND, WINDOW_SECONDS

FFT_SAMPLES = 400  # 25 ms
HOP_SAMPLES = SAMPLE_RATE // FRAMES_PER_SECOND  # 160: 10 ms between frames
WINDOW_FRAMES = round(WINDOW_SECONDS * FRAMES_PER_SECOND)  # 3000

_HALF_FFT = FFT_SAMPLES // 2
_DYNAMIC_RANGE = 8.0  # log10 of power, so 80 dB
_CPU = torch.device("cpu")


class Samples(Protocol):
    """16 kHz mono int16 samples: an array, a memory map or a SampleFile."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> npt.NDArray[np.int16]: ...


class Mel(Protocol):
    """One window's log-mel features."""

    def tensor(self) -> Tensor:
        """Float32 (n_mels, WINDOW_FRAMES). Any thread; computed anew at every call."""


class LogMel:
    """The features of one recording, as upstream's `log_mel_spectrogram(audio, n_mels, padding=30 s)` has them.

    samples: read in blocks, as they are needed, by whichever thread asks. device: where the features are computed.
    content_frames: whole 10 ms frames in the recording, without the 30 s of silence that upstream appends.
    Source: openai-whisper audio.log_mel_spectrogram.
    """

    def __init__(self, samples: Samples, n_mels: int, device: torch.device = _CPU) -> None:
        self._samples = samples
        self._device = device
        self._filters = mel_filters(device, n_mels)
        self._fft_window = torch.hann_window(FFT_SAMPLES, device=device)
        self.content_frames = len(samples) // HOP_SAMPLES

    def prepare(self) -> None:
        """Read the whole recording once, for the floor of its features. Else the first window does it."""
        _ = self._floor

    def window(self, first: int, frames: int) -> Mel:
        """`frames` frames from `first` on, then zeros.

        The zeros are of the normalised features, which is not what silence looks like; the models were run like this.
        """
        return _Window(self, first, frames)

    def opening(self) -> Mel:
        """The window that language detection hears: the first 30 s, a shorter recording followed by silence."""
        return _Window(self, 0, WINDOW_FRAMES)

    def normalised(self, first: int) -> Tensor:
        """Float32 (n_mels, WINDOW_FRAMES), with silence behind the recording's end."""
        return (torch.maximum(self._log_power(first), self._floor) + 4.0) / 4.0

    @cached_property
    def _floor(self) -> Tensor:
        """Below the maximum over all frames that hear the recording; the silence after it cannot be above them."""
        end = -(-(len(self._samples) + _HALF_FFT) // HOP_SAMPLES)
        peak = torch.full((), -torch.inf, device=self._device)
        for first in range(0, end, WINDOW_FRAMES):
            torch.maximum(peak, self._log_power(first).amax(), out=peak)  # nothing is kept from window to window
        return peak - _DYNAMIC_RANGE

    def _log_power(self, first: int) -> Tensor:
        """Float32 (n_mels, WINDOW_FRAMES): log10 of the power in each mel band.

        Always a whole window, silence included: for a few columns the matrix product takes another kernel, which sums
        in another order, and the last bit differs from upstream's (seen with 1 to 10 columns on x86).
        """
        heard = self._on_device(self._heard_from(first)).float().div_(32768.0)
        spectrum = torch.stft(
            heard, FFT_SAMPLES, HOP_SAMPLES, window=self._fft_window, center=False, return_complex=True
        )
        power = self._filters @ (spectrum.abs() ** 2)
        return torch.clamp(power, min=1e-10).log10()

    def _on_device(self, heard: npt.NDArray[np.int16]) -> Tensor:
        samples = torch.from_numpy(heard)
        return samples if self._device.type == "cpu" else samples.pin_memory().to(self._device, non_blocking=True)

    def _heard_from(self, first: int) -> npt.NDArray[np.int16]:
        """What a window's frames hear: each is centred on its time. Mirrored before the start, silent after the end."""
        start = first * HOP_SAMPLES - _HALF_FFT
        stop = (first + WINDOW_FRAMES - 1) * HOP_SAMPLES + _HALF_FFT
        if start >= 0:
            return self._read(start, stop)
        mirrored = self._read(1, 1 - start)[::-1]
        return np.concatenate([mirrored, self._read(0, stop)])

    def _read(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        read = np.zeros(stop - start, dtype=np.int16)
        present = self._samples[start:stop]
        read[: len(present)] = present
        return read


@dataclass(frozen=True)
class _Window:
    """So that whoever encodes a window computes its features too, in its own thread and on its own stream."""

    log_mel: LogMel
    first: int
    frames: int

    def tensor(self) -> Tensor:
        window = self.log_mel.normalised(self.first)
        window[:, self.frames :] = 0.0
        return window
