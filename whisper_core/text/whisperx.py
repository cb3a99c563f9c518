"""The json of WhisperX's command line, for tools that read it."""

from __future__ import annotations

import json
import math
from typing import Any

from whisper_core.text.cues import printable
from whisper_core.text.transcript import Segment, Transcript, Word


def whisperx_json(transcript: Transcript) -> str:
    """With `words` and `word_segments`, or without both, as after its `--no_align`, if there are no word timestamps."""
    segments = [_segment(segment) for segment in transcript.segments]
    result: dict[str, Any] = {"segments": segments}
    if transcript.has_words:
        result["word_segments"] = [word for segment in segments for word in segment["words"]]
    return json.dumps({**result, "language": transcript.language}, ensure_ascii=False)


def _segment(segment: Segment) -> dict[str, Any]:
    fields = {"start": segment.start, "end": segment.end, "text": printable(segment.text)}
    return fields if segment.words is None else {**fields, "words": [_word(word) for word in segment.words]}


def _word(word: Word) -> dict[str, Any]:
    """Without a score if there is none, as in WhisperX."""
    score = {"score": round(word.probability, 3)} if math.isfinite(word.probability) else {}
    return {"word": printable(word.word).strip(), "start": word.start, "end": word.end, **score}
