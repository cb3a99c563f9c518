"""What finding the speakers of a recording takes of memory, for whoever promises it. No torch."""

from __future__ import annotations

import math

_MIB = 2**20
_FIXED = 320 * _MIB  # the networks, their largest intermediate results, and the distances between excerpts
_PER_HOUR = 16 * _MIB  # activity of 59 frames a second and 80 embeddings a minute, each for a moment twice


def memory_needed(seconds: float) -> int:
    """Bytes at most, beside torch itself and the recording's samples: 320 MiB, and 16 MiB for every hour of sound.

    The networks took 69 MiB when they were loaded, and 153 MiB more at their peak (torch 2.13, one thread).
    """
    return _FIXED + math.ceil(seconds / 3600 * _PER_HOUR)
