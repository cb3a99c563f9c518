"""How a task says that it only does some segments of another one again: by its idempotency key.

It has spaces in it, which a client's key cannot have (`task_form.read_idempotency_key`), so nobody else makes such a
task; and whoever asks for the same again meanwhile gets the same task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PREFIX = "segments "


@dataclass(frozen=True)
class SegmentsAgain:
    """What such a task is about."""

    task_id: str  # whose segments they are
    version: int  # of its text, when they were chosen
    segments: tuple[int, ...]


def segments_key(task_id: str, version: int, segments: Sequence[int], model: str) -> str:
    return f"{PREFIX}{task_id} {version} {','.join(map(str, segments))} {model}"


def segments_of_key(key: str | None) -> SegmentsAgain | None:
    """None for any other task."""
    if key is None or not key.startswith(PREFIX):
        return None
    task_id, version, segments, _ = key.removeprefix(PREFIX).split(" ", 3)
    return SegmentsAgain(task_id, int(version), tuple(map(int, segments.split(","))))
