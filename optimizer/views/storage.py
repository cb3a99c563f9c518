"""What is used of the disk, by whom and for what."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from optimizer.common.clock import Clock
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles

SCAN_LASTS_S = 30.0  # at most; to look at 100,000 files takes about a second
_LEAST_LASTS_S = 1.0
_LASTS_TIMES_AS_LONG = 30  # as it took, so that whoever asks without end costs a thirtieth of a core
_MEDIA, _TEXTS, _SAMPLES = ("media",), ("transcripts",), ("audio", "waveforms")


@dataclass(frozen=True)
class OwnerUse:
    """Bytes, but for the tasks."""

    owner: str
    tasks: int = 0
    media: int = 0  # recordings
    texts: int = 0
    samples: int = 0  # what can be made again from the recordings


@dataclass(frozen=True)
class StorageUse:
    """Bytes. None: of the whole server, which this is not about."""

    media: int
    texts: int
    samples: int
    incoming: int | None  # uploads on their way
    database: int | None  # None also where it is not in the data folder
    free: int
    owners: tuple[OwnerUse, ...]  # those with the most first


class StorageViews:
    """Any thread. Figures are up to SCAN_LASTS_S old; where there is little to look at, a second."""

    def __init__(self, store: TaskStore, files: TaskFiles, clock: Clock) -> None:
        self._store = store
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._scan_ends_at = float("-inf")
        self._owners: tuple[OwnerUse, ...] = ()
        self._incoming = 0

    def used(self, owner: str | None) -> StorageUse:
        """By one owner, or by all. Raises StoreBusyError, DatabaseDamagedError."""
        owners, incoming = self._scan()
        shown = [each for each in owners if owner in (None, each.owner)]
        return StorageUse(
            media=sum(each.media for each in shown),
            texts=sum(each.texts for each in shown),
            samples=sum(each.samples for each in shown),
            incoming=incoming if owner is None else None,
            database=self._store.file_bytes() if owner is None else None,
            free=self._files.free_bytes(),
            owners=tuple(shown),
        )

    def _scan(self) -> tuple[tuple[OwnerUse, ...], int]:
        with self._lock:  # whoever asks meanwhile waits for this scan instead of making another one
            now = self._clock.monotonic()
            if now >= self._scan_ends_at:
                with self._store.reading() as rows:
                    owners = rows.owners_by_id()
                self._owners, self._incoming = self._uses(owners), self._bytes_of("incoming")
                done = self._clock.monotonic()
                self._scan_ends_at = done + min(SCAN_LASTS_S, max(_LEAST_LASTS_S, _LASTS_TIMES_AS_LONG * (done - now)))
            return self._owners, self._incoming

    def _uses(self, owners: Mapping[str, str]) -> tuple[OwnerUse, ...]:
        """owners: of every task, by its id. A file whose task is being made or deleted is not counted."""
        tasks = Counter(owners.values())
        media, texts, samples = (self._by_owner(folders, owners) for folders in (_MEDIA, _TEXTS, _SAMPLES))
        uses = [OwnerUse(name, tasks[name], media[name], texts[name], samples[name]) for name in tasks]
        return tuple(sorted(uses, key=lambda use: (-(use.media + use.texts + use.samples), use.owner)))

    def _by_owner(self, folders: tuple[str, ...], owners: Mapping[str, str]) -> Counter[str]:
        found: Counter[str] = Counter()
        for folder in folders:
            for task_id, size in _files_in(self._files.root / folder):
                if (owner := owners.get(task_id)) is not None:
                    found[owner] += size
        return found

    def _bytes_of(self, folder: str) -> int:
        return sum(size for _, size in _files_in(self._files.root / folder))


def _files_in(folder: Path) -> Iterator[tuple[str, int]]:
    """The id in each file's name, and its size."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                yield entry.name.partition(".")[0], entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:  # removed meanwhile
                continue
