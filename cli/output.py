"""Where transcripts go: files named after the recordings, or standard output."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from whisper_core.common.durable_files import disk_errors, replace_durably
from whisper_core.text.formats import FORMATS
from whisper_core.text.options import Mode

STANDARD_INPUT = "-"
ALL_FORMATS = "all"


@dataclass(frozen=True)
class Source:
    """One recording that the command names."""

    argument: str  # as it was written; `-` is standard input
    path: Path
    stem: str  # of its transcripts' names, different for every source

    @property
    def name(self) -> str:
        return "standard input" if self.argument == STANDARD_INPUT else self.argument

    @property
    def filename(self) -> str:
        return "stdin" if self.argument == STANDARD_INPUT else self.path.name


def sources_of(arguments: Sequence[str], standard_input: Path | None) -> list[Source]:
    """standard_input: where its bytes are, when one of the arguments is `-`.

    A transcript is named as openai-whisper names it: `a.mp3` becomes `a.txt`. Where that would give two recordings the
    same file, theirs keep the ending: `a.mp3.txt` and `a.wav.txt`, and a number where even that is the same.
    """
    paths = [standard_input if each == STANDARD_INPUT else Path(each) for each in arguments]
    names = ["stdin" if each == STANDARD_INPUT else Path(each).name for each in arguments]
    stems = [Path(name).stem or name for name in names]
    how_often = Counter(stem.casefold() for stem in stems)
    stems = [stem if how_often[stem.casefold()] == 1 else name for stem, name in zip(stems, names, strict=True)]
    sources, used = [], set[str]()
    for argument, path, stem in zip(arguments, paths, stems, strict=True):
        unique, number = stem, 2
        while unique.casefold() in used:
            unique, number = f"{stem} ({number})", number + 1
        used.add(unique.casefold())
        sources.append(Source(argument, path or Path(), unique))
    return sources


class Output(Protocol):
    def write(self, source: Source, format: str, content: bytes) -> None:
        """Raises OSError or DiskFullError, and then leaves what was there before."""

    def skip(self, source: Source) -> None:
        """There will be nothing of this one."""


class FolderOutput:
    def __init__(self, folder: Path, mode: Mode) -> None:
        self._folder = folder
        self._mark = "" if mode == "exact" else f"{mode}."  # as the server names a text that is not openai-whisper's

    def write(self, source: Source, format: str, content: bytes) -> None:
        path = self._folder / f"{source.stem}.{self._mark}{FORMATS[format].extension}"
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with disk_errors():
                temporary.write_bytes(content)
                replace_durably(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def skip(self, source: Source) -> None:
        pass


class StreamOutput:
    """One after the other, in the order in which the command names them: what comes early waits."""

    def __init__(self, stream: BinaryIO, sources: Sequence[Source]) -> None:
        self._stream = stream
        self._order = [source.stem for source in sources]
        self._ready: dict[str, bytes | None] = {}

    def write(self, source: Source, format: str, content: bytes) -> None:
        self._note(source, content)

    def skip(self, source: Source) -> None:
        self._note(source, None)

    def _note(self, source: Source, content: bytes | None) -> None:
        self._ready[source.stem] = content
        while self._order and self._order[0] in self._ready:
            self._stream.write(self._ready.pop(self._order.pop(0)) or b"")
            self._stream.flush()
