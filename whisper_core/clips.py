"""The parts of a recording that are to be transcribed: openai-whisper's clip_timestamps."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_core.common.units import FRAMES_PER_SECOND


@dataclass(frozen=True)
class Clips:
    """ranges: the first mel frame of each part and the one after its last; ascending, without overlap, none empty."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, clip_timestamps: str, content_frames: int) -> Clips:
        """clip_timestamps: start,end,start,end … in seconds, ascending. content_frames: of the recording.

        A clip ends with the recording at the latest. openai-whisper never returns from one that is longer.
        """
        seconds = [float(part) for part in clip_timestamps.split(",")] if clip_timestamps else [0.0]
        points = [round(second * FRAMES_PER_SECOND) for second in seconds]
        if len(points) % 2:
            points.append(content_frames)
        pairs = ((start, min(end, content_frames)) for start, end in zip(points[::2], points[1::2], strict=True))
        return cls(tuple((start, end) for start, end in pairs if start < end))

    def end_of(self, seek: int) -> int:
        """Where the clip ends that the frame `seek` is in. Raises StopIteration when it is in none."""
        return next(end for start, end in self.ranges if start <= seek < end)

    def following(self, seek: int) -> int | None:
        """The frame `seek` where it is in a clip, else where the next clip begins; None after the last."""
        return next((max(start, seek) for start, end in self.ranges if seek < end), None)

    def frames_before(self, seek: int) -> int:
        """How many frames before `seek` are in a clip."""
        return sum(min(end, seek) - start for start, end in self.ranges if start < seek)

    def after_window(self, first: int, seek: int) -> int | None:
        """Where the next window begins, or None.

        first: of the window that was decoded, in a clip. seek: where the next would begin without clips. One that lies
        behind the clip's end leads to the start of the next clip, also when it lies within that.
        """
        end = self.end_of(first)
        return self.following(seek if seek < end else end)
