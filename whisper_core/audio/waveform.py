"""How loud a recording is from moment to moment: what a page draws, taken from the samples while they are decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whisper_core.common.units import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

FINEST = SAMPLE_RATE // 50  # samples of a peak: 20 ms, a syllable has several
MOST_PEAKS = 40_000  # a longer recording has coarser ones: at an hour 160 ms, at ten hours 1.3 s
FULL_SCALE = 255
_HEADER = struct.Struct("<4sI")
_MAGIC = b"PEAK"


@dataclass(frozen=True)
class Waveform:
    samples_per_peak: int
    peaks: bytes  # the loudest sample of each such part, from 0 to FULL_SCALE

    @property
    def seconds_per_peak(self) -> float:
        return self.samples_per_peak / SAMPLE_RATE

    def to_bytes(self) -> bytes:
        return _HEADER.pack(_MAGIC, self.samples_per_peak) + self.peaks

    @classmethod
    def from_bytes(cls, data: bytes) -> Waveform | None:
        """None for what `to_bytes` has not written."""
        if len(data) <= _HEADER.size:
            return None
        magic, samples_per_peak = _HEADER.unpack_from(data)
        if magic != _MAGIC or samples_per_peak == 0:
            return None
        return cls(samples_per_peak, data[_HEADER.size :])


class WaveformMeter:
    """Takes the samples piece by piece and keeps at most MOST_PEAKS of them, however many there are."""

    def __init__(self) -> None:
        self._samples_per_peak = FINEST
        self._peaks = bytearray()
        self._rest: list[Samples] = []  # of the peak that is not complete
        self._num_rest = 0

    def add(self, samples: Samples) -> None:
        """samples: float32 (n,), from -32768 to 32767."""
        self._rest.append(abs(samples))
        self._num_rest += len(samples)
        if self._num_rest >= self._samples_per_peak:
            self._close_peaks()

    def waveform(self) -> Waveform | None:
        """Of all samples so far; None where there are none."""
        last = b"" if self._num_rest == 0 else _scaled(self._whole_rest().max(keepdims=True))
        peaks = bytes(self._peaks) + last
        return Waveform(self._samples_per_peak, peaks) if peaks else None

    def _close_peaks(self) -> None:
        rest = self._whole_rest()
        whole = len(rest) // self._samples_per_peak * self._samples_per_peak
        self._peaks += _scaled(rest[:whole].reshape(-1, self._samples_per_peak).max(axis=1))
        self._keep(rest[whole:])
        while len(self._peaks) > MOST_PEAKS:
            self._halve()

    def _halve(self) -> None:
        """Two peaks become one. One that is left over is the start of the next."""
        import numpy as np  # only here: see `load_numpy`

        peaks = np.frombuffer(bytes(self._peaks), np.uint8)
        pairs = len(peaks) // 2
        if len(peaks) % 2:
            loudest = np.full(self._samples_per_peak, float(peaks[-1]) * 32768 / FULL_SCALE, np.float32)
            self._keep(np.concatenate([loudest, self._whole_rest()]))
        self._peaks = bytearray(peaks[: 2 * pairs].reshape(-1, 2).max(axis=1).tobytes())
        self._samples_per_peak *= 2

    def _whole_rest(self) -> Samples:
        import numpy as np  # only here: see `load_numpy`

        return np.concatenate(self._rest)

    def _keep(self, rest: Samples) -> None:
        self._rest, self._num_rest = [rest.copy()], len(rest)


def _scaled(loudest: Samples) -> bytes:
    return bytes((loudest * (FULL_SCALE / 32768)).round().astype("uint8").tobytes())
