"""How right a text is: word error rate, and equality with openai-whisper's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import jiwer
from whisper.normalizers import EnglishTextNormalizer

from benchmarks.measurement import Text
from benchmarks.recordings import Recording


def word_error_rate(references: Sequence[str], texts: Sequence[str]) -> float:
    """Over all texts together, as they are: normalise first. NaN without any."""
    return float(jiwer.wer(list(references), list(texts))) if references else float("nan")


def normalised_error_rate(recordings: Sequence[Recording], texts: Mapping[str, Text]) -> float:
    """By Whisper's English normaliser, over the recordings of which the words are known."""
    normalise = EnglishTextNormalizer()
    known = [(recording.text, texts[recording.name].text) for recording in recordings if recording.text]
    return word_error_rate([normalise(said) for said, _ in known], [normalise(heard) for _, heard in known])


def share_of_equal_segments(texts: Mapping[str, Text], upstream: Mapping[str, Text]) -> float:
    """Of openai-whisper's segments, those that are there with the same start, end and text."""
    equal = total = 0
    for name, theirs in upstream.items():
        equal += (Counter(theirs.segments) & Counter(texts[name].segments)).total()
        total += len(theirs.segments)
    return equal / total if total else float("nan")


def share_of_identical_texts(texts: Mapping[str, Text], upstream: Mapping[str, Text]) -> float:
    return sum(texts[name].text == theirs.text for name, theirs in upstream.items()) / len(upstream)
