"""The json of WhisperX's command line, for tools that read it."""

from __future__ import annotations

import json
import math
from typing import Any

from whisper_core.text.cues import printable
from whisper_core.text.transcript import Segment, Transcript, Word


def whisperx_json(transcript: Transcript) -> str:
    """With `words` and `word_segments`, or without both, as after its `--no_align`, if there are no word timestamps."""
    names = {speaker: _name(transcript, speaker) for speaker in {segment.speaker for segment in transcript.segments}}
    segments = [_segment(segment, names[segment.speaker]) for segment in transcript.segments]
    result: dict[str, Any] = {"segments": segments}
    if transcript.has_words:
        result["word_segments"] = [word for segment in segments for word in segment["words"]]
    return json.dumps({**result, "language": transcript.language}, ensure_ascii=False)


def _name(transcript: Transcript, speaker: str | None) -> dict[str, str]:
    """The name, or `SPEAKER_00` as in WhisperX for one who has none; nothing if it is not known who speaks."""
    if speaker is None:
        return {}
    number = speaker.removeprefix("S")
    unnamed = f"SPEAKER_{int(number) - 1:02d}" if number.isdecimal() else speaker
    return {"speaker": printable((transcript.speakers or {}).get(speaker) or unnamed)}


def _segment(segment: Segment, name: dict[str, str]) -> dict[str, Any]:
    fields = {"start": segment.start, "end": segment.end, "text": printable(segment.text)}
    words = {} if segment.words is None else {"words": [_word(word, name) for word in segment.words]}
    return {**fields, **words, **name}


def _word(word: Word, name: dict[str, str]) -> dict[str, Any]:
    """Without a score if there is none, as in WhisperX."""
    score = {"score": round(word.probability, 3)} if math.isfinite(word.probability) else {}
    return {"word": printable(word.word).strip(), "start": word.start, "end": word.end, **score, **name}
