"""Log-mel features of a recording, computed window by window.

openai-whisper computes the features of a whole file at once, with several GB of memory for 3 hours, because of a single
number: the floor, which is the file's maximum minus 8. Here a first pass finds that number, and each window is computed
when it is needed. The values are the same bit for bit (tests/whisper_core/audio/test_log_mel.py). A pass took about 1 s
per hour of audio on one core of the development machine, because a window's intermediate results stay in the cache.

On a GPU the features are computed there and differ from upstream's in the last bits.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from whisper.audio import mel_filters

from whisper_core.common.units import HOP_SAMPLES, WINDOW_FRAMES

FFT_SAMPLES = 400  # 25 ms

_HALF_FFT = FFT_SAMPLES // 2
_DYNAMIC_RANGE = 8.0  # log10 of power, so 80 dB
_CPU = torch.device("cpu")
_ALL = 2**62


class Samples(Protocol):
    """16 kHz mono int16 samples: an array, a memory map or a SampleFile."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> npt.NDArray[np.int16]: ...


class Mel(Protocol):
    """One window's log-mel features."""

    def tensor(self) -> Tensor:
        """Float32 (n_mels, WINDOW_FRAMES). Any thread; computed again at every call."""


class LogMel:
    """The features of one recording, equal to upstream's `log_mel_spectrogram(audio, n_mels, padding=30 s)`.

    samples: read in blocks as they are needed, in the calling thread. device: where the features are computed.
    content_frames: whole 10 ms frames in the recording, without the 30 s of silence that upstream appends.
    Source: openai-whisper audio.log_mel_spectrogram.
    """

    def __init__(self, samples: Samples, n_mels: int, device: torch.device = _CPU) -> None:
        self.samples = samples
        self._device = device
        self._filters = mel_filters(device, n_mels)
        self._fft_window = torch.hann_window(FFT_SAMPLES, device=device)
        self.content_frames = len(samples) // HOP_SAMPLES
        self._first_pass = threading.Lock()
        self._frames_read = 0  # by the first pass
        # Only frames that overlap the recording count; silence is not louder.
        self._frames_to_read = -(-(len(samples) + _HALF_FFT) // HOP_SAMPLES)
        self._peak: Tensor | None = None  # made where it is computed, which may be another thread

    @property
    def frames_left(self) -> int:
        """What `prepare` has still to read."""
        return max(0, self._frames_to_read - self._frames_read)

    def prepare(self, frames: int = _ALL) -> bool:
        """Reads the whole recording once, for the floor of its features, or only so many frames more of it. Whether all
        of it has been read; if not, the first window reads the rest."""
        with self._first_pass:
            return self._read_on(frames)

    def _read_on(self, frames: int) -> bool:
        if self._peak is None:
            self._peak = torch.full((), -torch.inf, device=self._device)
        end = min(self._frames_read + frames, self._frames_to_read)
        while self._frames_read < end:
            window = self._log_power(self._frames_read)
            torch.maximum(self._peak, window.amax(), out=self._peak)  # the window itself is not kept
            self._frames_read += WINDOW_FRAMES
        return self._frames_read >= self._frames_to_read

    def window(self, first: int, frames: int) -> Mel:
        """`frames` frames from `first` on, then zeros.

        Zeros in the normalised features are not what silence looks like, but upstream pads windows in this way.
        """
        return _Window(self, first, frames)

    def opening(self) -> Mel:
        """The window for language detection: the first 30 s, with silence after a shorter recording."""
        return _Window(self, 0, WINDOW_FRAMES)

    def normalised(self, first: int) -> Tensor:
        """Float32 (n_mels, WINDOW_FRAMES), with silence after the end of the recording."""
        return (torch.maximum(self._log_power(first), self._floor) + 4.0) / 4.0

    @property
    def _floor(self) -> Tensor:
        """The maximum minus the dynamic range."""
        if self._peak is None or self.frames_left:
            self.prepare()
        assert self._peak is not None  # noqa: S101 - made by `prepare`
        return self._peak - _DYNAMIC_RANGE

    def _log_power(self, first: int) -> Tensor:
        """Float32 (n_mels, WINDOW_FRAMES): log10 of the power in each mel band.

        Always a whole window, silence included: for a few columns the matrix product uses another kernel, which adds in
        another order, and the last bit differs from upstream's (observed with 1 to 10 columns on x86).
        """
        samples = self._on_device(self._samples_of_window(first)).float().div_(32768.0)
        spectrum = torch.stft(
            samples, FFT_SAMPLES, HOP_SAMPLES, window=self._fft_window, center=False, return_complex=True
        )
        power = self._filters @ (spectrum.abs() ** 2)
        return torch.clamp(power, min=1e-10).log10()

    def _on_device(self, window_samples: npt.NDArray[np.int16]) -> Tensor:
        samples = torch.from_numpy(window_samples)
        return samples if self._device.type == "cpu" else samples.pin_memory().to(self._device, non_blocking=True)

    def _samples_of_window(self, first: int) -> npt.NDArray[np.int16]:
        """Of a window whose frames are centred on their times. Mirrored before the start, zero after the end."""
        start = first * HOP_SAMPLES - _HALF_FFT
        stop = (first + WINDOW_FRAMES - 1) * HOP_SAMPLES + _HALF_FFT
        if start >= 0:
            return self._read(start, stop)
        mirrored = self._read(1, 1 - start)[::-1]
        return np.concatenate([mirrored, self._read(0, stop)])

    def _read(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        read = np.zeros(stop - start, dtype=np.int16)
        present = self.samples[start:stop]
        read[: len(present)] = present
        return read


@dataclass(frozen=True)
class _Window:
    """A window whose features are computed only when it is encoded, in that thread and on that CUDA stream."""

    log_mel: LogMel
    first: int
    frames: int

    def tensor(self) -> Tensor:
        window = self.log_mel.normalised(self.first)
        window[:, self.frames :] = 0.0
        return window
