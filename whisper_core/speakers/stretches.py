"""Where somebody speaks, cut where one voice follows another; and the excerpts in it that a voice is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from whisper_core.speakers.segmentation import FIRST_CENTRE, FRAME_SHIFT
from whisper_core.speakers.sound import Floats

SAMPLE_RATE = 16_000
EXCERPT = 24_000  # samples that a voice is judged by: 1.5 s
EXCERPT_SHIFT = 12_000  # 0.75 s

_IS_SPEECH = 0.5
_SHORTEST_PAUSE = 0.3  # s; a shorter one belongs to the speech around it
_SHORTEST_SPEECH = 0.2  # s; what is shorter is taken for a noise
_SMOOTHING = 0.4  # s over which voices are compared, so that a stray frame changes nothing


@dataclass(frozen=True)
class Stretch:
    """Speech of what sounds like one voice. In samples."""

    start: int
    stop: int


@dataclass(frozen=True)
class Excerpt:
    """A part of a stretch, at most 1.5 s. In samples."""

    start: int
    stop: int
    stretch: int  # its number

    @property
    def centre(self) -> int:
        return (self.start + self.stop) // 2


def find_stretches(activity: Floats, num_samples: int) -> list[Stretch]:
    """In order, none overlapping another. activity: (frames, 4) of the whole recording."""
    speech = _without_short_runs(activity[:, 0] >= _IS_SPEECH, value=False, shortest_s=_SHORTEST_PAUSE)
    speech = _without_short_runs(speech, value=True, shortest_s=_SHORTEST_SPEECH)
    voice = _smoothed(activity[:, 1:]).argmax(1) if len(activity) else np.zeros(0, np.intp)
    code = np.where(speech, voice + 1, 0)
    found = []
    for first, stop in _runs(code):
        if code[first]:
            start, end = _sample_of(first), min(_sample_of(stop), num_samples)
            if end > start:
                found.append(Stretch(start, end))
    return found


def excerpts_of(stretches: list[Stretch]) -> list[Excerpt]:
    """Every 0.75 s, the last one flush with the stretch's end."""
    return [
        Excerpt(start, min(start + EXCERPT, stretch.stop), number)
        for number, stretch in enumerate(stretches)
        for start in _starts(stretch)
    ]


def _starts(stretch: Stretch) -> Iterator[int]:
    last = max(stretch.start, stretch.stop - EXCERPT)
    yield from range(stretch.start, last, EXCERPT_SHIFT)
    yield last


def _sample_of(frame: int) -> int:
    """Where a frame begins; the first one with the recording."""
    return max(0, FIRST_CENTRE + frame * FRAME_SHIFT - FRAME_SHIFT // 2) if frame else 0


def _runs(code: npt.NDArray[np.intp]) -> list[tuple[int, int]]:
    """First and last + 1 of each run of equal values."""
    if not len(code):
        return []
    borders = [0, *(np.flatnonzero(np.diff(code)) + 1).tolist(), len(code)]
    return list(pairwise(borders))


def _without_short_runs(flags: npt.NDArray[np.bool_], *, value: bool, shortest_s: float) -> npt.NDArray[np.bool_]:
    """Runs of `value` between two others that are too short become like these. Pauses at the ends stay."""
    kept = flags.copy()
    for first, stop in _runs(flags.astype(np.intp)):
        is_short = (stop - first) * FRAME_SHIFT < shortest_s * SAMPLE_RATE
        is_inside = first > 0 and stop < len(flags)
        if flags[first] == value and is_short and (is_inside or value):
            kept[first:stop] = not value
    return kept


def _smoothed(voices: Floats) -> Floats:
    """The mean over a moment around each frame. One voice after the other, as this is the most that ten hours take."""
    half = int(_SMOOTHING * SAMPLE_RATE / FRAME_SHIFT) // 2
    frames = np.arange(len(voices), dtype=np.int32)
    first, stop = np.maximum(frames - half, 0), np.minimum(frames + half + 1, len(voices))
    means = np.empty_like(voices)
    for number in range(voices.shape[1]):
        sums = np.concatenate([[0.0], np.cumsum(voices[:, number], dtype=np.float64)])
        means[:, number] = (sums[stop] - sums[first]) / (stop - first)
    return means
