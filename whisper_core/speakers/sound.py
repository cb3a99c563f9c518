"""Stretches of a recording as the networks take them: float32, of a given length, with silence around the recording."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Sound(Protocol):
    """16 kHz mono samples: float32 in [-1, 1], or int16 as they lie on the disk. An array, or a SampleFile."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> npt.NDArray[Any]: ...


def stretch(sound: Sound, start: int, stop: int) -> Floats:
    """Float32 (stop - start,); zero where there is no recording. start may be negative."""
    read = np.zeros(stop - start, np.float32)
    before = max(0, -start)
    present = sound[max(0, start) : max(0, stop)]
    scale = np.float32(1 / 32768) if present.dtype == np.int16 else np.float32(1)
    np.multiply(present, scale, out=read[before : before + len(present)], casting="unsafe")
    return read
