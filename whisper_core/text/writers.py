"""A transcript as txt, srt, vtt, tsv or json.

Ordinary text is written exactly as openai-whisper's own writers write it. Where their output can be unsafe, it differs:
- srt, vtt: a cue contains no blank line and no `-->`, which would end it. vtt escapes `&`, `<` and `>`, so nothing is
  lost and nothing is read as markup; srt has no escapes, so `-->` becomes `->`. A segment without text gets no cue.
- tsv: a text is one cell on one line. If a spreadsheet would run it as a formula, an apostrophe is put before it: if it
  starts with `=`, `+` or `@`, or with `-` and contains a `(` or a `|`, without which a formula reaches nothing outside
  the sheet. Other leading dashes stay, because dialogue is written with them.
- except in json: control characters become spaces, and lone surrogates the replacement character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from errors import InvalidOptionError
from whisper_core.text.transcript import Transcript

FORMATS = ("json", "txt", "srt", "vtt", "tsv")  # each name is also its file extension

_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_ARROW = re.compile(r"-{2,}>")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_FORMULA = re.compile(r"[=+@]|-.*[(|]", re.DOTALL)


def write(transcript: Transcript, format: str) -> str:
    """The transcript in one of FORMATS. Raises InvalidOptionError for any other."""
    writer = _WRITERS.get(format)
    if writer is None:
        raise InvalidOptionError(
            f"There is no format of that name. Choose one of {', '.join(FORMATS)}.", field="format"
        )
    return writer(transcript)


def _json(transcript: Transcript) -> str:
    fields = transcript.to_dict()
    return json.dumps({name: fields[name] for name in ("text", "segments", "language")})


def _txt(transcript: Transcript) -> str:
    return "".join(f"{_printable(segment.text).strip()}\n" for segment in transcript.segments)


def _srt(transcript: Transcript) -> str:
    cues = [(_clock(start, ",", True), _clock(end, ",", True), text) for start, end, text in _cues(transcript)]
    return "".join(
        f"{number}\n{start} --> {end}\n{_ARROW.sub('->', text)}\n\n"
        for number, (start, end, text) in enumerate(cues, start=1)
    )


def _vtt(transcript: Transcript) -> str:
    cues = (
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text.translate(_VTT_ESCAPES)}\n\n"
        for start, end, text in _cues(transcript)
    )
    return "WEBVTT\n\n" + "".join(cues)


def _tsv(transcript: Transcript) -> str:
    rows = (
        f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{_cell(segment.text)}\n"
        for segment in transcript.segments
    )
    return "start\tend\ttext\n" + "".join(rows)


_WRITERS: dict[str, Callable[[Transcript], str]] = {"json": _json, "txt": _txt, "srt": _srt, "vtt": _vtt, "tsv": _tsv}


def _cues(transcript: Transcript) -> Iterator[tuple[float, float, str]]:
    """Start, end (seconds) and text of each segment that has text; taken from the words if there are any."""
    has_words = any(segment.words for segment in transcript.segments)
    for segment in transcript.segments:
        start, end, text = segment.start, segment.end, segment.text
        if has_words:
            words = segment.words or ()
            text = "".join(word.word for word in words)
            start, end = (words[0].start, words[-1].end) if words else (start, end)
        lines = [line.strip() for line in _printable(text).splitlines()]
        if any(lines):
            yield start, end, "\n".join(line for line in lines if line)


def _cell(text: str) -> str:
    cell = " ".join(line.strip() for line in _printable(text).replace("\t", " ").strip().splitlines())
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _printable(text: str) -> str:
    return _SURROGATE.sub("\ufffd", _CONTROL.sub(" ", text))


def _clock(seconds: float, decimal_mark: str, shows_hours: bool = False) -> str:
    """[HH:]MM:SS and milliseconds. The hours are written from the first hour on, or with shows_hours."""
    total, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, rest = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours:02d}:" if hours or shows_hours else ""
    return f"{shown}{minutes:02d}:{rest:02d}{decimal_mark}{milliseconds:03d}"
