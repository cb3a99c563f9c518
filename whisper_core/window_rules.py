"""openai-whisper's rules for one decoded window: is it silence, is it plausible, what is in it, where to go on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from whisper_core.common.units import HOP_SAMPLES, SAMPLE_RATE
from whisper_core.model_requests import Decoded, DecodeSettings
from whisper_core.text.transcript import Segment


@dataclass(frozen=True)
class Span:
    """One segment's tokens. start, end: seconds from the start of the window."""

    tokens: tuple[int, ...]
    start: float
    end: float


@dataclass(frozen=True)
class Cut:
    """advance: frames to the next window. ends_in_silence: nothing is said after the last span; `advance` is final."""

    spans: tuple[Span, ...]
    advance: int
    ends_in_silence: bool


def seconds_of(frames: int) -> float:
    return frames * HOP_SAMPLES / SAMPLE_RATE


def needs_fallback(decoded: Decoded, settings: DecodeSettings) -> bool:
    """Whether to decode again at the next temperature: too repetitive or too improbable, and not just silence."""
    is_improbable = settings.logprob_threshold is not None and decoded.avg_logprob < settings.logprob_threshold
    if is_improbable and _sounds_like_no_speech(decoded, settings):
        return False
    limit = settings.compression_ratio_threshold
    is_repetitive = limit is not None and decoded.compression_ratio > limit
    return is_repetitive or is_improbable


def is_silence(decoded: Decoded, settings: DecodeSettings) -> bool:
    """Whether to skip the window: it sounds like no speech, and the text is not probable enough to say otherwise."""
    is_probable = settings.logprob_threshold is not None and decoded.avg_logprob > settings.logprob_threshold
    return _sounds_like_no_speech(decoded, settings) and not is_probable


def _sounds_like_no_speech(decoded: Decoded, settings: DecodeSettings) -> bool:
    return settings.no_speech_threshold is not None and decoded.no_speech_prob > settings.no_speech_threshold


def cut_tokens(tokens: tuple[int, ...], timestamp_begin: int, size: int, frames_per_position: int) -> Cut:
    """Cut a window's tokens into segments, at each pair of adjacent timestamps.

    size: frames of content in the window. frames_per_position: mel frames of one timestamp step (2, so 20 ms).
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
    # Unless it ends in silence, what follows the last pair is unfinished and is heard again in the next window.
    last_position = tokens[ends[-1] - 1] - timestamp_begin
    return Cut(spans, size if ends_in_silence else last_position * frames_per_position, ends_in_silence)


def _span(tokens: tuple[int, ...], timestamp_begin: int, precision: float) -> Span:
    """A span that begins and ends with a timestamp."""
    return Span(tokens, (tokens[0] - timestamp_begin) * precision, (tokens[-1] - timestamp_begin) * precision)


def _only_span(tokens: tuple[int, ...], timestamp_begin: int, size: int, precision: float) -> Span:
    """The whole window; it ends at its last timestamp, if it has one that is not 0.00."""
    positions = [token - timestamp_begin for token in tokens if token >= timestamp_begin]
    has_end = bool(positions) and positions[-1] != 0
    return Span(tokens, 0.0, positions[-1] * precision if has_end else seconds_of(size))


def cleared_when_empty(segment: Segment) -> Segment:
    """A segment that takes no time or says nothing keeps its place but loses its tokens, so they prompt nothing."""
    if segment.start == segment.end or not segment.text.strip():
        return replace(segment, text="", tokens=(), words=())
    return segment
