"""A finished task's text in the response formats of whisper.cpp's server."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from web.adapters.waiting import Result
from web.adapters.whisper_cpp.form import JSON, TEXT, VERBOSE, Wanted
from whisper_core.text.formats import FORMATS, render_transcript
from whisper_core.text.languages import LANGUAGES
from whisper_core.text.transcript import Segment


def write_answer(result: Result, wanted: Wanted) -> Response:
    if wanted.response_format == JSON:
        return jsonify(text=_lines(result))
    if wanted.response_format == VERBOSE:
        return jsonify(_verbose(result, has_times=wanted.has_times))
    if wanted.response_format == TEXT:
        return Response(_lines(result), mimetype="text/plain")
    written = FORMATS[wanted.response_format]
    body = render_transcript(result.transcript, wanted.response_format, audio_seconds=result.task.audio_seconds)
    response = Response(body, mimetype=written.media_type)
    response.mimetype_params["charset"] = "utf-8"
    return response


def _lines(result: Result) -> str:
    """A segment in each, with the blank that it begins with."""
    return "".join(f"{segment.text}\n" for segment in result.transcript.segments)


def _verbose(result: Result, *, has_times: bool) -> dict[str, Any]:
    task, transcript = result.task, result.transcript
    language = LANGUAGES.get(transcript.language, transcript.language)
    return {
        "task": task.options.task,
        "language": language,
        "duration": round(task.audio_seconds or 0.0, 3),
        "text": _lines(result),
        "segments": [_segment(segment, has_times=has_times) for segment in transcript.segments],
        **({} if task.options.language else {"detected_language": language}),
    }


def _segment(segment: Segment, *, has_times: bool) -> dict[str, Any]:
    fields = segment.to_dict()
    del fields["seek"], fields["compression_ratio"]
    if not has_times:
        del fields["start"], fields["end"]
    return fields
