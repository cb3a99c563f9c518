"""The decoded samples of one recording, read from the disk as they are needed.

This is no memory map: pages that come or go between two samples of the memory meter would count towards the worker's
peak (115 MB for an hour), though the system can reclaim them at any time.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from errors import SourceMissingError

_SAMPLE = np.dtype("<i2")


class SampleFile:
    """16 kHz mono s16le samples, sliced like an array. A context manager; any thread.

    It stays readable when the file is deleted. Raises FileNotFoundError when there is no file, and OSError when it is
    read after `close`.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by __exit__
        self._lock = threading.Lock()  # for the position in the file, and against closing it during a read
        self._length = os.fstat(self._file.fileno()).st_size // _SAMPLE.itemsize

    def __enter__(self) -> SampleFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> npt.NDArray[np.int16]:
        start, stop, _ = part.indices(self._length)
        with self._lock:
            if self._file.closed:
                raise OSError(errno.EBADF, "the recording's samples have been closed")
            self._file.seek(start * _SAMPLE.itemsize)
            read = self._file.read(max(0, stop - start) * _SAMPLE.itemsize)
        return np.frombuffer(read, dtype=_SAMPLE)


def open_samples(path: Path) -> SampleFile:
    """A task's samples. Raises SourceMissingError when the file no longer exists."""
    try:
        return SampleFile(path)
    except FileNotFoundError:
        raise SourceMissingError() from None
