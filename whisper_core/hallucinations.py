"""What openai-whisper leaves out with a hallucination_silence_threshold: text that is probably made up for silence.

A segment is suspected when its words are improbable, very short or very long. It is left out when there is silence (or
another suspected segment) on both sides of it. Needs the words' times.
Source: openai-whisper 20250625, transcribe.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_core.common.units import FRAMES_PER_SECOND
from whisper_core.text.transcript import Segment, Word

_PUNCTUATION = "\"'“¿([{-\"'.。,，!！?？:：”)]}、"
_JUDGED_WORDS = 8  # of a segment, from its start
_IMPROBABLE = 0.15
_SHORT_WORD_S = 0.133
_LONG_WORD_S = 2.0
_AT_THE_EDGE_S = 2.0  # a segment that is as near to the window's start or end counts as having silence there


@dataclass(frozen=True)
class AlignedWindow:
    """A window whose words have their times. All in seconds of the recording, but for the frames."""

    seek: int  # its first mel frame
    size: int  # mel frames of content in it
    start: float
    end: float  # of a full window, whatever its content
    content_end: float
    last_speech: float  # the end of the last word before it
    recording_frames: int
    recording_end: float


@dataclass(frozen=True)
class Screened:
    """What is left of a window. segments: None when nothing of it counts, not even the end of its last word."""

    segments: tuple[Segment, ...] | None
    seek: int  # the mel frame at which the next window begins


def screen(
    segments: tuple[Segment, ...], seek: int, window: AlignedWindow, threshold: float, *, ends_in_silence: bool
) -> Screened:
    """seek: where the next window would begin. threshold: seconds of silence. ends_in_silence: see Cut."""
    last_end = end_of(segments)
    if not ends_in_silence and last_end is not None and last_end > window.start:
        is_silent_after = window.end - last_end > threshold
        seek = _frame(last_end) if is_silent_after else window.seek + window.size
    first = _next_with_words(segments)
    if first is not None and _is_suspect(first):
        gap = first.start - window.start
        if gap > threshold:
            return Screened(None, window.seek + _frame(gap))
    return _without_surrounded(segments, seek, window, threshold)


def end_of(segments: Sequence[Segment]) -> float | None:
    """The end of the last word; of the last segment where there are no words; None without segments."""
    ends = (segment.words[-1].end for segment in reversed(segments) if segment.words)
    return next(ends, segments[-1].end if segments else None)


def _without_surrounded(segments: tuple[Segment, ...], seek: int, window: AlignedWindow, threshold: float) -> Screened:
    """Without the first suspected segment that has silence on both sides, and all after it: they are decoded again."""
    previous_end = window.last_speech
    for number, segment in enumerate(segments):
        if not segment.words:
            continue
        if _is_suspect(segment):
            following = _next_with_words(segments[number + 1 :])
            next_start = following.words[0].start if following is not None and following.words else window.content_end
            is_silent_before = (
                segment.start - previous_end > threshold
                or segment.start < threshold
                or segment.start - window.start < _AT_THE_EDGE_S
            )
            is_silent_after = (
                next_start - segment.end > threshold
                or _is_suspect(following)
                or window.end - segment.end < _AT_THE_EDGE_S
            )
            if is_silent_before and is_silent_after:
                is_last = window.recording_end - segment.end < threshold
                again = _frame(max(window.start + 1, segment.start))
                return Screened(segments[:number], window.recording_frames if is_last else again)
        previous_end = segment.end
    return Screened(segments, seek)


def _is_suspect(segment: Segment | None) -> bool:
    if segment is None or not segment.words:
        return False
    words = [word for word in segment.words if word.word not in _PUNCTUATION][:_JUDGED_WORDS]
    score = sum(_strangeness(word) for word in words)
    return score >= 3 or score + 0.01 >= len(words)


def _strangeness(word: Word) -> float:
    duration = word.end - word.start
    score = 0.0
    if word.probability < _IMPROBABLE:
        score += 1.0
    if duration < _SHORT_WORD_S:
        score += (_SHORT_WORD_S - duration) * 15
    if duration > _LONG_WORD_S:
        score += duration - _LONG_WORD_S
    return score


def _next_with_words(segments: Sequence[Segment]) -> Segment | None:
    return next((segment for segment in segments if segment.words), None)


def _frame(seconds: float) -> int:
    return round(seconds * FRAMES_PER_SECOND)
