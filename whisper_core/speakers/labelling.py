"""From excerpts and voices to turns: who speaks in each stretch, and where in it one voice takes over from another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from whisper_core.speakers.segmentation import FIRST_CENTRE, FRAME_SHIFT
from whisper_core.speakers.sound import Floats
from whisper_core.speakers.stretches import SAMPLE_RATE, Excerpt, Stretch
from whisper_core.text.turns import Turn

_CHANGE = 0.25  # of cosine that another voice has to be likelier by, over its excerpts, to be heard within a stretch
_LONGEST_PAUSE = 0.5  # s within a turn


def turns_of(
    stretches: Sequence[Stretch], excerpts: Sequence[Excerpt], likeness: Floats, speech: Floats
) -> tuple[Turn, ...]:
    """In order, none overlapping another.

    likeness: (excerpts, voices), the cosine of each excerpt with each voice. speech: (frames,), that anybody speaks.
    """
    pieces = list(_pieces(stretches, excerpts, likeness, speech))
    numbers: dict[int, int] = {}
    turns: list[Turn] = []
    for start, stop, voice in pieces:
        speaker = numbers.setdefault(voice, len(numbers))
        start_s, end_s = start / SAMPLE_RATE, stop / SAMPLE_RATE
        if turns and turns[-1].speaker == speaker and start_s - turns[-1].end <= _LONGEST_PAUSE:
            turns[-1] = Turn(turns[-1].start, end_s, speaker)
        else:
            turns.append(Turn(start_s, end_s, speaker))
    return tuple(turns)


def _pieces(
    stretches: Sequence[Stretch], excerpts: Sequence[Excerpt], likeness: Floats, speech: Floats
) -> Iterator[tuple[int, int, int]]:
    """Start and stop in samples, and the voice."""
    first = 0
    for number, stretch in enumerate(stretches):
        stop = first
        while stop < len(excerpts) and excerpts[stop].stretch == number:
            stop += 1
        start = stretch.start
        labels = _likeliest(likeness[first:stop])
        for (excerpt, label), (next_excerpt, next_label) in pairwise(zip(excerpts[first:stop], labels, strict=True)):
            if label != next_label:
                border = _border(speech, excerpt.centre, next_excerpt.centre)
                yield start, border, label
                start = border
        yield start, stretch.stop, labels[-1]
        first = stop


def _likeliest(likeness: Floats) -> list[int]:
    """The voice of each excerpt of a stretch, so that they sound alike and change seldom (Viterbi's algorithm)."""
    best = likeness[0].astype(np.float64)
    came_from: list[npt.NDArray[np.intp]] = []
    for row in likeness[1:]:
        leader = int(best.argmax())
        stays = best >= best[leader] - _CHANGE
        came_from.append(np.where(stays, np.arange(len(best)), leader))
        best = np.where(stays, best, best[leader] - _CHANGE) + row
    labels = [int(best.argmax())]
    for sources in reversed(came_from):
        labels.append(int(sources[labels[-1]]))
    return labels[::-1]


def _border(speech: Floats, start: int, stop: int) -> int:
    """The sample between these where speech is least certain, the middle if it is certain throughout."""
    first, last = (max(0, (sample - FIRST_CENTRE) // FRAME_SHIFT) for sample in (start, stop))
    certain = np.round(speech[first : last + 1], 1)
    if not len(certain):
        return (start + stop) // 2
    least = np.flatnonzero(certain == certain.min())
    frame = first + int(least[np.abs(least - (last - first) / 2).argmin()])
    return min(max(start, FIRST_CENTRE + frame * FRAME_SHIFT), stop)
