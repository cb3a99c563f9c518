"""Writes a recording's samples while they are decoded: all of them or none, and only as long as they may be kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from whisper_core.common.durable_files import disk_errors, replace_durably

# Whether so many bytes of the recording's samples may be on the disk. May raise, which ends the decode.
KeepSamples = Callable[[int], bool]


def keep_all(nbytes: int) -> bool:
    return True


def keep_none(nbytes: int) -> bool:
    return False


class SampleWriter:
    """A context manager, for one thread. Nothing stays at the end of the block unless `publish` was called.

    may_keep: asked before each write with the bytes that there would be. Once it says no, what was written is removed
    at once, and the rest is only counted, so the recording's length and its faults are found out all the same.
    Raises DiskFullError.
    """

    def __init__(self, destination: Path, may_keep: KeepSamples = keep_all) -> None:
        self.nbytes = 0  # written or counted
        self.is_kept = True
        self._destination = destination
        self._unfinished = destination.with_name(destination.name + ".tmp")
        self._may_keep = may_keep
        self._file: IO[bytes] | None = None

    def __enter__(self) -> SampleWriter:
        with disk_errors():
            self._file = open(self._unfinished, "wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    def write(self, samples: bytes) -> None:
        self.nbytes += len(samples)
        if self.is_kept and not self._may_keep(self.nbytes):
            self.is_kept = False
            self._drop()
        if self._file is not None:
            with disk_errors():
                self._file.write(samples)

    def publish(self) -> None:
        """Gives the samples their name, durably. Does nothing when they were only counted."""
        if self._file is None:
            return
        with disk_errors():
            self._file.close()
            self._file = None
            replace_durably(self._unfinished, self._destination)

    def _drop(self) -> None:
        """Harmless after `publish` and when repeated."""
        if self._file is not None:
            with suppress(OSError):  # what is written by closing is not wanted any more
                self._file.close()
            self._file = None
        self._unfinished.unlink(missing_ok=True)
