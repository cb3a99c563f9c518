"""A finished task's text in OpenAI's response formats."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from web.adapters.openai.form import DIARIZED, SEGMENT, WORD, Wanted
from web.adapters.waiting import Result
from whisper_core.text.formats import render_transcript
from whisper_core.text.languages import LANGUAGES
from whisper_core.text.transcript import Segment, Transcript

UNKNOWN_SPEAKER = "unknown"  # where they could not be told apart
_MEDIA_TYPES = {"srt": "text/plain", "vtt": "text/vtt"}


def write_answer(result: Result, wanted: Wanted) -> Response:
    if wanted.response_format == "json":
        return jsonify(text_body(result, wanted))
    if wanted.response_format == "verbose_json":
        return jsonify(_verbose(result, wanted))
    if wanted.response_format == DIARIZED:
        return jsonify(_diarized(result))
    if wanted.response_format == "text":
        return Response(f"{plain_text(result)}\n", mimetype="text/plain")
    seconds = result.task.audio_seconds
    body = render_transcript(result.transcript, wanted.response_format, wanted.writer, audio_seconds=seconds)
    return Response(body, mimetype=_MEDIA_TYPES[wanted.response_format])


def plain_text(result: Result) -> str:
    """Without the blank that a transcript of Whisper's begins with."""
    return result.transcript.text.strip()


def text_body(result: Result, wanted: Wanted) -> dict[str, Any]:
    """The format json, and the end of a stream."""
    body: dict[str, Any] = {"text": plain_text(result)}
    if SEGMENT in wanted.granularities:
        body["segments"] = _segments(result)
    return {**body, "usage": usage(result)}


def speaker_segments(result: Result) -> list[dict[str, Any]]:
    """Of diarized_json, and as events of a stream."""
    transcript = _heard(result)
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{number:03d}",
            "start": segment.start,
            "end": segment.end,
            "text": segment.text.strip(),
            "speaker": _speaker(transcript, segment.speaker),
        }
        for number, segment in enumerate(transcript.segments, start=1)
    ]


def usage(result: Result) -> dict[str, Any]:
    return {"type": "duration", "seconds": _seconds(result)}


def _diarized(result: Result) -> dict[str, Any]:
    return {
        "task": "transcribe",
        "duration": _seconds(result),
        "text": plain_text(result),
        "segments": speaker_segments(result),
        "usage": usage(result),
    }


def _speaker(transcript: Transcript, speaker: str | None) -> str:
    """The name, or OpenAI's letters for one who has none: A, B … Z, AA, AB …"""
    if speaker is None:
        return UNKNOWN_SPEAKER
    number, letters = int(speaker.removeprefix("S")), ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return (transcript.speakers or {}).get(speaker) or letters


def _verbose(result: Result, wanted: Wanted) -> dict[str, Any]:
    kind, transcript = result.task.options.task, _heard(result)
    language = "english" if kind == "translate" else LANGUAGES.get(transcript.language, transcript.language)
    body: dict[str, Any] = {
        "task": kind,
        "language": language,
        "duration": _seconds(result),
        "text": plain_text(result),
    }
    if WORD in wanted.granularities:
        body["words"] = [
            {"word": word.word.strip(), "start": word.start, "end": word.end}
            for segment in transcript.segments
            for word in segment.words or ()
        ]
    if SEGMENT in wanted.granularities:
        body["segments"] = _segments(result)
    return {**body, "usage": usage(result)}


def _segments(result: Result) -> list[dict[str, Any]]:
    """Without their words, which have a list of their own."""
    return [_without_words(segment) for segment in _heard(result).segments]


def _heard(result: Result) -> Transcript:
    return result.transcript.within(result.task.audio_seconds)


def _without_words(segment: Segment) -> dict[str, Any]:
    return {name: value for name, value in segment.to_dict().items() if name != "words"}


def _seconds(result: Result) -> float:
    return round(result.task.audio_seconds or 0.0, 3)
