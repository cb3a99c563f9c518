"""Cutting a recording into chunks of speech that fit one window each, at pauses.

A chunk begins with the first speech after the previous chunk. It ends at the longest of the pauses near the end of the
window: the longer a pause, the more likely a sentence ends there. A chunk holds all sound from its first to its last
speech, short pauses included, with a little sound around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from whisper_core.audio.vad import WINDOW_SAMPLES, SpeechScan
from whisper_core.common.units import HOP_SAMPLES, WINDOW_FRAMES

SPEECH_BEGINS = 0.5  # probability of speech
SPEECH_ENDS = 0.35
MIN_PAUSE = 5  # windows of 32 ms; a shorter one is a gap inside a word
MIN_SPEECH = 3  # windows of 32 ms; shorter speech is a click
MARGIN_FRAMES = 20  # 200 ms of sound before and after the speech, or half of a shorter pause

_FRAMES_PER_WINDOW = WINDOW_SAMPLES / HOP_SAMPLES
_MAX_WINDOWS = int((WINDOW_FRAMES - 2 * MARGIN_FRAMES) / _FRAMES_PER_WINDOW)

Run = tuple[int, int]  # windows of 32 ms: the first, and the one after the last


@dataclass(frozen=True)
class Chunk:
    """A part of the recording that fits one window, in mel frames of 10 ms from the recording's start."""

    start: int
    end: int
    speech_end: int  # where its last speech ends
    speech: tuple[tuple[int, int], ...] = ()  # where somebody speaks: the first frame, and the one after the last

    def speech_after(self, frame: int) -> tuple[int, int]:
        """The number of frames of speech from `frame` on, and the first of them (the chunk's end if there are none)."""
        later = [(max(start, frame), end) for start, end in self.speech if end > frame]
        return sum(end - start for start, end in later), later[0][0] if later else self.end


class ChunkCutter:
    """The chunks of one recording, one after the other.

    content_frames: whole mel frames in the recording. after: the end of the last chunk that was transcribed earlier;
    from there on the chunks are those of an uninterrupted cutter.
    """

    def __init__(self, scan: SpeechScan, content_frames: int, *, after: int = 0) -> None:
        self._scan = scan
        self._content_frames = content_frames
        self._previous_end = after
        self._position = _window_of(after)

    @property
    def is_exhausted(self) -> bool:
        """Whether there is no further chunk."""
        return self._position >= self._scan.num_windows

    def next_chunk(self) -> Chunk | None:
        """The next chunk. None when there is no speech in the next half minute (ask again), or when exhausted.

        Reads a few minutes of the recording at most, so that a long silence does not hold up the caller.
        """
        ahead = speech_runs(self._scan.probabilities(self._position, _MAX_WINDOWS))
        if not ahead:
            self._position += _MAX_WINDOWS
            return None
        start = self._position + ahead[0][0]
        end, pause = self._end_of(start)
        speech_end = _frame_of(end)
        chunk = Chunk(
            start=max(self._previous_end, _frame_of(start) - MARGIN_FRAMES),
            end=min(self._content_frames, speech_end + min(MARGIN_FRAMES, _frame_of(pause) // 2)),
            speech_end=speech_end,
            speech=tuple(
                (_frame_of(start + first), _frame_of(start + last))
                for first, last in speech_runs(self._scan.probabilities(start, end - start))
            ),
        )
        self._previous_end = chunk.end
        self._position = _window_of(chunk.end)
        return chunk

    def _end_of(self, start: int) -> tuple[int, int]:
        """For the chunk that starts at `start`: the window after its last speech, and the length of the pause there."""
        probabilities = self._scan.probabilities(start, _MAX_WINDOWS)
        runs = speech_runs(probabilities)
        size = len(probabilities)
        if start + size == self._scan.num_windows:
            return start + runs[-1][1], size - runs[-1][1]
        pause = _best_pause(runs, size)
        if pause is None:
            third = size // 3
            return start + 2 * third + int(probabilities[2 * third :].argmin()), 0
        return start + pause[0], pause[1] - pause[0]


def speech_runs(probabilities: npt.NDArray[np.float32]) -> list[Run]:
    """Where there is speech, with short gaps closed and clicks left out. probabilities: of windows of 32 ms.

    A probability between the two thresholds changes nothing: speech continues, and so does silence.
    """
    verdicts = (probabilities >= SPEECH_BEGINS).astype(int) - (probabilities < SPEECH_ENDS)
    last_clear = np.maximum.accumulate(np.where(verdicts != 0, np.arange(len(verdicts)), 0))
    is_speech = np.concatenate([[False], verdicts[last_clear] > 0, [False]])
    edges = np.flatnonzero(is_speech[1:] != is_speech[:-1]).tolist()
    runs: list[Run] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if runs and start - runs[-1][1] < MIN_PAUSE:
            start = runs.pop()[0]
        runs.append((start, end))
    return [(start, end) for start, end in runs if end - start >= MIN_SPEECH]


def _best_pause(runs: list[Run], size: int) -> Run | None:
    """The longest pause that ends in the last third of `size` windows, or, without one, in the second third."""
    pauses = [(end, start) for (_, end), (start, _) in pairwise([*runs, (size, size)])]
    for earliest in (2 * size // 3, size // 3):
        near = [pause for pause in pauses if pause[1] > earliest and pause[1] - pause[0] >= MIN_PAUSE]
        if near:
            return max(near, key=lambda pause: (pause[1] - pause[0], pause[1]))
    return None


def _frame_of(window: int) -> int:
    return int(window * _FRAMES_PER_WINDOW)


def _window_of(frame: int) -> int:
    """The first window that begins at or after the frame, give or take the rounding of `_frame_of`."""
    return -(-frame * HOP_SAMPLES // WINDOW_SAMPLES)
