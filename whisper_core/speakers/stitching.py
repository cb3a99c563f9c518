"""The activity of ten-second spans, which overlap by half, joined into one for the whole recording.

A span calls its voices in an order of its own, so each is reordered to agree with the one before where they overlap.
That keeps a voice's number for as long as it is heard every few seconds, which is enough to see one follow another;
who it is over a whole recording is told by what it sounds like (clustering.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import torch

from whisper_core.speakers.segmentation import FRAME_SHIFT, FRAMES, SPAN, VOICES, Segmentation
from whisper_core.speakers.sound import Floats, Sound, stretch

STEP_FRAMES = 296  # from one span to the next, in whole frames
_OVERLAP = FRAMES - STEP_FRAMES
_STEP = STEP_FRAMES * FRAME_SHIFT
_SPANS_AT_ONCE = 4
_RISING = np.linspace(0, 1, _OVERLAP, dtype=np.float32)[:, None]


def activity_in_blocks(sound: Sound, network: Segmentation) -> Iterator[Floats]:
    """Float32 (frames, 4) each, one after the other: that anybody speaks, and that each of the local voices does."""
    spans = 1 + max(0, -(-(len(sound) - SPAN) // _STEP))
    stitcher = Stitcher()
    for first in range(0, spans, _SPANS_AT_ONCE):
        numbers = range(first, min(first + _SPANS_AT_ONCE, spans))
        heard = np.stack([stretch(sound, number * _STEP, number * _STEP + SPAN) for number in numbers])
        blocks = [stitcher.add(span) for span in network.activity(torch.from_numpy(heard)).numpy()]
        yield np.concatenate([*blocks, stitcher.rest()] if numbers[-1] == spans - 1 else blocks)


class Stitcher:
    """Takes spans in order and gives back the frames that no later span can change."""

    def __init__(self) -> None:
        self._open: Floats | None = None  # the frames that the next span hears as well

    def add(self, span: Floats) -> Floats:
        """Float32 (296, 4) of a span's (589, 4)."""
        if self._open is not None:
            span = _reordered(span, self._open)
            span[:_OVERLAP] = self._open + (span[:_OVERLAP] - self._open) * _RISING
        self._open = span[STEP_FRAMES:]
        return span[:STEP_FRAMES]

    def rest(self) -> Floats:
        """What is left after the last span."""
        return np.zeros((0, 1 + VOICES), np.float32) if self._open is None else self._open


def _reordered(span: Floats, before: Floats) -> Floats:
    """A copy whose voices are numbered as they were in `before`, as far as they sound together."""
    agreement = before[:, 1:].T @ span[:_OVERLAP, 1:]
    best = max(permutations(range(VOICES)), key=lambda order: sum(agreement[place, order[place]] for place in order))
    return span[:, [0, *(1 + voice for voice in best)]]
