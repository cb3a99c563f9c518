"""Which files of a watched folder are recordings, and which of them have stopped growing."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from optimizer.common.clock import Clock
from optimizer.common.filenames import has_media_ending

log = logging.getLogger(__name__)

DONE = "done"  # directly in the watched folder: where recordings go that are done; never looked into
# Where NAS systems and Windows keep what people have deleted, and what they know of each file
_NOT_PEOPLES = frozenset({"#recycle", "@eadir", "$recycle.bin", "system volume information", "lost+found"})


@dataclass(frozen=True)
class FoundFile:
    path: str  # below the watched folder, with slashes
    size: int
    mtime_ns: int

    @property
    def folder(self) -> PurePosixPath:
        return PurePosixPath(self.path).parent

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    def is_still(self, status: os.stat_result) -> bool:
        return (self.size, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


def recordings_below(root: Path) -> Iterator[FoundFile]:
    """Plain files with the ending of a recording or a film; not hidden ones, and through no link.

    Files that are not complete have other endings, or are hidden, with all programs that copy under another name.
    Raises OSError when the root cannot be read; another folder that cannot be read is left out.
    """
    folders = [PurePosixPath()]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError as error:
            if not folder.parts:
                raise
            log.warning("event=watched_folder_unreadable reason=%r", error.strerror)
            continue
        for entry in entries:
            if entry.name.startswith((".", "~")):
                continue
            if entry.is_dir(follow_symlinks=False):
                is_own = not folder.parts and entry.name == DONE
                if not is_own and entry.name.casefold() not in _NOT_PEOPLES:
                    folders.append(folder / entry.name)
            elif has_media_ending(entry.name) and (found := _found(entry, folder)) is not None:
                yield found


def _found(entry: os.DirEntry[str], folder: PurePosixPath) -> FoundFile | None:
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        status = entry.stat(follow_symlinks=False)
    except OSError:  # it is gone again
        return None
    return FoundFile(str(folder / entry.name), status.st_size, status.st_mtime_ns) if status.st_size else None


class Settling:
    """Tells which files have not changed for a while, from one look to the next. One thread."""

    def __init__(self, clock: Clock, settled_s: float) -> None:
        self._clock = clock
        self._settled_s = settled_s
        self._since: dict[str, tuple[FoundFile, float]] = {}  # by path: as it is, and since when, as far as we saw

    def settled(self, found: Iterable[FoundFile]) -> list[FoundFile]:
        """Those that were the same at the look before and have not changed for long enough, oldest first.

        found: all files that are there at this look. Both clocks count: a file that was copied long ago is settled at
        the second look after a start, and one from a machine whose clock is ahead is so in time.
        """
        now, wall = self._clock.monotonic(), self._clock.now().timestamp()
        before, self._since = self._since, {}
        settled = []
        for file in found:
            same, since = before.get(file.path, (None, now))
            if same != file:
                self._since[file.path] = (file, now)
                continue
            self._since[file.path] = (file, since)
            if max(now - since, wall - file.mtime_ns / 1e9) >= self._settled_s:
                settled.append(file)
        return sorted(settled, key=lambda file: (file.mtime_ns, file.path))
