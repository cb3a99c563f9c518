"""The parts of a recording that hold speech, and where a moment of them alone lies in the recording.

Parts are measured in mel frames, so that a window's first frame, which is all that is saved of a place, can be told
there and back again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from whisper_core.audio.log_mel import Samples
from whisper_core.clips import Clips
from whisper_core.common.units import FRAMES_PER_SECOND, HOP_SAMPLES
from whisper_core.text.transcript import Checkpoint, Segment, WindowResult, Word
from whisper_core.window_rules import seconds_of

# Those of faster-whisper's vad_filter. Shorter silence stays: it is what tells sentences apart.
SHORTEST_SILENCE_FRAMES = 200
MARGIN_FRAMES = 40  # of sound that stay before and after speech
# A piece at a part's edge that holds no word of a segment: the margin, as exactly as a model tells times. Otherwise a
# text would be shown through the silence that its last moment lies behind.
SLIVER_FRAMES = MARGIN_FRAMES + 20


@dataclass(frozen=True)
class SpeechParts:
    """ranges: the first mel frame of each part and the one after its last; ascending, apart, none empty.

    A *place* is a mel frame of the parts alone, one after the other; the recording's own are called frames.
    """

    ranges: tuple[tuple[int, int], ...]
    recording_frames: int

    @classmethod
    def around(cls, speech: Iterable[tuple[int, int]], recording_frames: int) -> SpeechParts:
        """speech: where somebody speaks, ascending: the first mel frame and the one after the last."""
        joined: list[tuple[int, int]] = []
        for start, end in speech:
            if joined and start - joined[-1][1] < SHORTEST_SILENCE_FRAMES:
                start = joined.pop()[0]
            joined.append((start, end))
        wider = ((max(0, start - MARGIN_FRAMES), min(recording_frames, end + MARGIN_FRAMES)) for start, end in joined)
        return cls(tuple((start, end) for start, end in wider if start < end), recording_frames)

    @property
    def num_places(self) -> int:
        return self._starts[-1]

    @cached_property
    def _starts(self) -> list[int]:
        """The place of each part's start, and the number of places in all."""
        return [0, *accumulate(end - start for start, end in self.ranges)]

    def frame_of(self, place: int) -> int:
        """Where a place lies; the recording's end for the one after the last."""
        if place >= self.num_places:
            return self.recording_frames
        part = bisect_right(self._starts, place) - 1
        return self.ranges[part][0] + place - self._starts[part]

    def place_of(self, frame: int) -> int:
        """The inverse; of a frame between two parts, the place where the next begins."""
        part = bisect_right(self.ranges, frame, key=lambda each: each[1])
        return self._starts[part] + max(0, frame - self.ranges[part][0]) if part < len(self.ranges) else self.num_places

    def places_of_clips(self, clip_timestamps: str) -> str:
        """What is left of clips of the recording, in openai-whisper's spelling too."""
        ranges = Clips.of(clip_timestamps, self.recording_frames).ranges
        places = [self.place_of(frame) for clip in ranges for frame in clip]
        return ",".join(f"{seconds_of(place):.2f}" for place in places or (0, 0))

    def moved_window(self, window: WindowResult) -> WindowResult:
        """A window of the parts alone, with its times and its checkpoint in the recording.

        The checkpoint's `last_speech_timestamp` stays as it is: only the algorithm itself uses it.
        """
        segments = tuple(self._moved_segment(segment) for segment in window.segments)
        return replace(window, segments=segments, checkpoint=self._moved_checkpoint(window.checkpoint))

    def _moved_checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        decoded = checkpoint.seek - checkpoint.skipped_frames
        seek, left = self.frame_of(checkpoint.seek), checkpoint.frames_left
        return replace(
            checkpoint,
            seek=seek,
            content_frames=self.recording_frames,
            skipped_frames=seek - decoded,
            frames_left=self.num_places - checkpoint.seek if left is None else left,
        )

    def _moved_segment(self, segment: Segment) -> Segment:
        words = None if segment.words is None else tuple(self._moved_word(word) for word in segment.words)
        first, last = self._parts_of(_place(segment.start), _place(segment.end))
        start, end = self._moved(segment.start, first), self._moved(segment.end, last)
        if words and segment.words:  # which may have chosen another side of a cut
            start = words[0].start if segment.start == segment.words[0].start else start
            end = words[-1].end if segment.end == segment.words[-1].end else end
        return replace(segment, seek=self.frame_of(segment.seek), start=start, end=max(start, end), words=words)

    def _moved_word(self, word: Word) -> Word:
        """Within the part that its middle is in: nobody goes on with a word after seconds of silence."""
        part = bisect_right(self._starts, _place(word.start / 2 + word.end / 2)) - 1
        return replace(word, start=self._moved(word.start, part), end=self._moved(word.end, part))

    def _parts_of(self, start: int, end: int) -> tuple[int, int]:
        """The first and the last part that what lies between two places is in, without a sliver of it in either."""
        starts, most = self._starts, len(self.ranges) - 1
        first = min(max(0, bisect_right(starts, start) - 1), most)
        last = min(max(first, bisect_left(starts, end) - 1), most)
        if first < last and starts[first + 1] - start <= SLIVER_FRAMES:
            first += 1
        if first < last and end - starts[last] <= SLIVER_FRAMES:
            last -= 1
        return first, last

    def _moved(self, seconds: float, part: int) -> float:
        """Within the part. A time after the last one, in the silence that the model hears there, becomes its end."""
        part = min(max(0, part), len(self.ranges) - 1)
        first, last = self.ranges[part]
        moved = round(seconds + seconds_of(first - self._starts[part]), 2)
        return min(max(seconds_of(first), moved), seconds_of(last))


class SpeechSamples:
    """The samples of the parts alone, one after the other, read from the recording's as they are needed."""

    def __init__(self, samples: Samples, parts: SpeechParts) -> None:
        self._samples = samples
        self._ranges = [(start * HOP_SAMPLES, end * HOP_SAMPLES) for start, end in parts.ranges]
        self._ends = list(accumulate(end - start for start, end in self._ranges))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, wanted: slice) -> npt.NDArray[np.int16]:
        position, stop, _ = wanted.indices(len(self))
        pieces: list[npt.NDArray[np.int16]] = []
        part = bisect_right(self._ends, position)
        while position < stop:
            end = min(stop, self._ends[part])
            shift = self._ranges[part][1] - self._ends[part]
            pieces.append(self._samples[position + shift : end + shift])
            position, part = end, part + 1
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)


def _place(seconds: float) -> int:
    return round(seconds * FRAMES_PER_SECOND)
