"""Who speaks when: what is found of a recording, and what words are assigned by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """A stretch in which one person speaks.

    speaker: 0 for who speaks first, 1 for the next new voice, and so on.
    """

    start: float  # seconds from the start of the recording
    end: float
    speaker: int
