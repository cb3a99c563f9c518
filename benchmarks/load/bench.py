"""What every row of the load table is measured with."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.load.server import LoadServer

T = TypeVar("T")


@dataclass(frozen=True)
class Bench:
    """seconds: how long a row's traffic lasts. speech: 16 kHz mono int16."""

    scratch: Path
    speech: bytes
    seconds: float
    large_bytes: int
    socket_clients: tuple[int, ...]
    seed: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def server(self, *, is_noop: bool = False, settings: Mapping[str, str] | None = None) -> LoadServer:
        """In a folder of its own."""
        return LoadServer(self.new_folder(), is_noop=is_noop, settings=settings)

    def new_folder(self) -> Path:
        return self.scratch / f"server-{next(self._numbers)}"


def run(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)
