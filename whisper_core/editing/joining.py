"""Segments cut in two and put together, with their times and words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from whisper_core.editing import word_times
from whisper_core.text.cues import UNSPACED
from whisper_core.text.transcript import Segment, Word

_ENDS_UNSPACED = re.compile(rf"[{UNSPACED}\u3000-\u303f\uff00-\uffef]$")
_STARTS_UNSPACED = re.compile(rf"^[{UNSPACED}\u3000-\u303f\uff00-\uffef]")


def cut(segment: Segment, at_char: int) -> tuple[Segment, Segment]:
    """In two, at that character of its text; both keep its id. The time between them is the words', else in
    proportion to the text."""
    before, behind = segment.text[:at_char], segment.text[at_char:]
    is_spaced = before[-1:].isspace() or behind[:1].isspace()
    before, behind = before.rstrip(), (" " if is_spaced else "") + behind.strip()
    moment = word_times.between(segment.start, segment.end, at_char / len(segment.text))
    if segment.words is None:
        return (
            replace(segment, end=moment, text=before, tokens=()),
            replace(segment, start=moment, text=behind, tokens=()),
        )
    left, right = _cut_words(segment, at_char)
    end = min(max(left[-1].end if left else moment, segment.start), segment.end)
    start = min(max(right[0].start if right else moment, segment.start), segment.end)
    left = word_times.within(left, segment.start, end)  # words of merged segments may overlap
    right = word_times.within(_with_text(right, behind), start, segment.end)
    return (
        replace(segment, end=end, text=before, words=left, tokens=()),
        replace(segment, start=start, text=behind, words=right, tokens=()),
    )


def in_order(both: tuple[Segment, Segment], behind: Sequence[Segment]) -> tuple[Segment, Segment]:
    """The two of a cut, of which the second does not start after what is behind them: segments may overlap."""
    left, right = both
    if behind and left.start <= behind[0].start < right.start:
        right = replace(right, start=behind[0].start)
    return left, right


def merged(first: Segment, second: Segment) -> Segment:
    """One segment with the first one's id, as doubtful as the more doubtful of both."""
    text = joined(first.text, second.text)
    words = None if first.words is None and second.words is None else _joined_words(first, second, text)
    return Segment(
        id=first.id,
        seek=first.seek,
        start=min(first.start, second.start),
        end=max(first.end, second.end),
        text=text,
        tokens=first.tokens + second.tokens,
        temperature=max(first.temperature, second.temperature),
        avg_logprob=min(first.avg_logprob, second.avg_logprob),
        compression_ratio=max(first.compression_ratio, second.compression_ratio),
        no_speech_prob=max(first.no_speech_prob, second.no_speech_prob),
        words=words,
        speaker=first.speaker or second.speaker,
    )


def joined(first: str, second: str) -> str:
    """With a space between, except in scripts that have none."""
    if not first.strip() or not second.strip():
        return first if first.strip() else second
    if first[-1].isspace() or second[0].isspace():
        return first + second
    is_unspaced = _ENDS_UNSPACED.search(first) and _STARTS_UNSPACED.search(second)
    return first + second if is_unspaced else f"{first} {second}"


def _joined_words(first: Segment, second: Segment, text: str) -> tuple[Word, ...]:
    before, behind = _words(first), _words(second)
    if before and behind and (gap := text[len(first.text) : len(text) - len(second.text)]):
        behind = (replace(behind[0], word=gap + behind[0].word), *behind[1:])
    return word_times.within((*before, *behind), min(first.start, second.start), max(first.end, second.end))


def _words(segment: Segment) -> tuple[Word, ...]:
    """With their speakers: in the merged segment another one may speak most."""
    words = segment.words
    if not segment.text.strip():
        return ()
    if words is None:
        words = word_times.words_of(segment.text, segment.start, segment.end)
    return tuple(word if word.speaker else replace(word, speaker=segment.speaker) for word in words)


def _cut_words(segment: Segment, at_char: int) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    words = segment.words or ()
    if "".join(word.word for word in words) != segment.text:  # openai-whisper leaves words out that take no time
        words = word_times.retimed(words, segment.text, segment.start, segment.end)
    left, right = word_times.cut_words(words, at_char)
    while left and not left[-1].word.strip():
        left = left[:-1]
    return left, right


def _with_text(words: tuple[Word, ...], text: str) -> tuple[Word, ...]:
    """The first one begins as the text does."""
    if not words:
        return words
    first = words[0].word.lstrip()
    return (replace(words[0], word=f" {first}" if text[:1].isspace() else first), *words[1:])
