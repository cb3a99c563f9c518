"""A command that is told to end does so as if it were interrupted: it cancels its tasks and removes its files."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)  # Ctrl-C is Python's own
SHELLS_BASE = 128  # a shell's exit code for what a signal ended is this and the signal's number


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Within the block, raises SystemExit for a signal that would end the process at once. The main thread only."""
    before = {each: signal.signal(each, _end) for each in _ENDING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)  # another one must not interrupt the tidying up
    raise SystemExit(SHELLS_BASE + number)
