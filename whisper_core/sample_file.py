"""The decoded samples of one recording, read from the disk as they are needed.

Not a memory map: its pages would count as the worker's memory once they were touched (115 MB for an hour), although the
system can take them back at any time, and the memory ledger learns from what the worker reports.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

_SAMPLE = np.dtype("<i2")


class SampleFile:
    """16 kHz mono s16le samples, sliced like an array. A context manager; one thread at a time.

    The file stays readable when it is deleted meanwhile. Raises FileNotFoundError when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by __exit__
        self._length = os.fstat(self._file.fileno()).st_size // _SAMPLE.itemsize

    def __enter__(self) -> SampleFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> npt.NDArray[np.int16]:
        start, stop, _ = part.indices(self._length)
        self._file.seek(start * _SAMPLE.itemsize)
        return np.frombuffer(self._file.read(max(0, stop - start) * _SAMPLE.itemsize), dtype=_SAMPLE)
