"""What becomes of a recording once its transcripts are on the disk."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal

from optimizer.common.failpoints import failpoint
from optimizer.watching.found_files import DONE, FoundFile
from optimizer.watching.tree import Tree, rename_new

WhenDone = Literal["keep", "move", "delete"]


class Originals:
    """Any thread."""

    def __init__(self, watched: Tree, when_done: WhenDone) -> None:
        self._watched = watched
        self._when_done = when_done

    def settle(self, found: FoundFile) -> bool:
        """Whether the file stays where it is: one that has changed meanwhile does. Harmless when repeated.

        Raises OSError.
        """
        if self._when_done == "keep":
            return True
        failpoint("watch.before_original")
        try:
            with self._watched.folder(found.folder) as folder:
                if not found.is_still(os.stat(found.name, dir_fd=folder, follow_symlinks=False)):
                    return True
                if self._when_done == "move":
                    self._move(folder, found)
                else:
                    os.unlink(found.name, dir_fd=folder)
                os.fsync(folder)
        except FileNotFoundError:  # done before a crash, or by somebody else
            return False
        failpoint("watch.original")
        return False

    def _move(self, folder: int, found: FoundFile) -> None:
        with self._watched.folder(PurePosixPath(DONE) / found.folder, is_made=True) as target:
            for name in _candidates(found.name):
                if rename_new(folder, found.name, target, name):
                    os.fsync(target)
                    return


def _candidates(name: str) -> Iterator[str]:
    yield name
    stem, dot, ending = name.rpartition(".")
    for number in itertools.count(2):
        yield f"{stem} ({number}){dot}{ending}"
