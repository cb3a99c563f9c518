"""openai-whisper's rules for one decoded window: whether it is silence or implausible, its segments, the next window.

Source: openai-whisper 20250625, transcribe.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from whisper_core.common.units import FRAMES_PER_SECOND
from whisper_core.model_requests import Decoded, DecodeSettings
from whisper_core.text.transcript import Segment


@dataclass(frozen=True)
class Span:
    """The part of a window that becomes one segment."""

    tokens: tuple[int, ...]
    start: float  # seconds from the start of the window
    end: float


@dataclass(frozen=True)
class Cut:
    """A window's tokens cut into spans."""

    spans: tuple[Span, ...]
    advance: int  # mel frames to the start of the next window
    ends_in_silence: bool  # whether nothing is said after the last span; word timestamps do not change `advance` then


def seconds_of(frames: int) -> float:
    return frames / FRAMES_PER_SECOND


def needs_fallback(decoded: Decoded, settings: DecodeSettings) -> bool:
    """Whether to decode again at the next temperature: too repetitive or too improbable, and not silence."""
    is_improbable = settings.logprob_threshold is not None and decoded.avg_logprob < settings.logprob_threshold
    if is_improbable and _sounds_like_no_speech(decoded, settings):
        return False
    limit = settings.compression_ratio_threshold
    is_repetitive = limit is not None and decoded.compression_ratio > limit
    return is_repetitive or is_improbable


def is_silence(decoded: Decoded, settings: DecodeSettings) -> bool:
    """Whether to skip the window: it sounds like no speech, and its text is not probable enough to outweigh that."""
    is_probable = settings.logprob_threshold is not None and decoded.avg_logprob > settings.logprob_threshold
    return _sounds_like_no_speech(decoded, settings) and not is_probable


def _sounds_like_no_speech(decoded: Decoded, settings: DecodeSettings) -> bool:
    return settings.no_speech_threshold is not None and decoded.no_speech_prob > settings.no_speech_threshold


def cut_tokens(tokens: tuple[int, ...], timestamp_begin: int, size: int, frames_per_position: int) -> Cut:
    """Cut a window's tokens into spans at each pair of adjacent timestamps.

    size: mel frames of content in the window. frames_per_position: mel frames of one timestamp step (2, so 20 ms).
    """
    precision = seconds_of(frames_per_position)
    is_timestamp = [token >= timestamp_begin for token in tokens]
    ends_in_silence = is_timestamp[-2:] == [False, True]
    ends = [i for i in range(1, len(tokens)) if is_timestamp[i - 1] and is_timestamp[i]]
    if not ends:
        return Cut((_only_span(tokens, timestamp_begin, size, precision),), size, ends_in_silence)
    if ends_in_silence:
        ends.append(len(tokens))
    starts = [0, *ends[:-1]]
    spans = tuple(_span(tokens[start:end], timestamp_begin, precision) for start, end in zip(starts, ends, strict=True))
    # Unless the window ends in silence, what follows the last pair is unfinished, and the next window starts with it.
    last_position = tokens[ends[-1] - 1] - timestamp_begin
    return Cut(spans, size if ends_in_silence else last_position * frames_per_position, ends_in_silence)


def _span(tokens: tuple[int, ...], timestamp_begin: int, precision: float) -> Span:
    """A span that begins and ends with a timestamp."""
    return Span(tokens, (tokens[0] - timestamp_begin) * precision, (tokens[-1] - timestamp_begin) * precision)


def _only_span(tokens: tuple[int, ...], timestamp_begin: int, size: int, precision: float) -> Span:
    """The whole window as one span. It ends at its last timestamp, or with the content when that is missing or 0.00."""
    positions = [token - timestamp_begin for token in tokens if token >= timestamp_begin]
    has_end = bool(positions) and positions[-1] != 0
    return Span(tokens, 0.0, positions[-1] * precision if has_end else seconds_of(size))


def cleared_when_empty(segment: Segment) -> Segment:
    """The segment, without its tokens if it takes no time or has no text, so that they are in no later prompt."""
    if segment.start == segment.end or not segment.text.strip():
        return replace(segment, text="", tokens=(), words=())
    return segment
