"""A transcript as txt, srt, vtt, tsv or json.

Ordinary text is written exactly as openai-whisper's own writers write it, with the same options (`cues.py` cuts the
cues of srt and vtt). Where their output can be unsafe, it differs:
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
from collections.abc import Callable, Iterable

from errors import InvalidOptionError
from whisper_core.text.cues import Cue, cues_of, printable
from whisper_core.text.transcript import Transcript
from whisper_core.text.writer_options import PLAIN, WriterOptions

WHISPER_FORMATS = ("json", "txt", "srt", "vtt", "tsv")  # each name is also its file extension

_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_ARROW = re.compile(r"-{2,}>")
_FORMULA = re.compile(r"[=+@]|-.*[(|]", re.DOTALL)


def write(
    transcript: Transcript, format: str, options: WriterOptions = PLAIN, audio_seconds: float | None = None
) -> str:
    """The transcript in one of WHISPER_FORMATS. Raises InvalidOptionError for any other, and what cues_of() raises."""
    if format in _CUE_WRITERS:
        return write_cues(cues_of(transcript, options, audio_seconds), format)
    if format in _WRITERS:
        return _WRITERS[format](transcript)
    raise InvalidOptionError(
        f"There is no format of that name. Choose one of {', '.join(WHISPER_FORMATS)}.", field="format"
    )


def write_cues(cues: Iterable[Cue], format: str) -> str:
    """Cues as srt or vtt."""
    return _CUE_WRITERS[format](list(cues))


def _json(transcript: Transcript) -> str:
    fields = transcript.to_dict()
    return json.dumps({name: fields[name] for name in ("text", "segments", "language")})


def _txt(transcript: Transcript) -> str:
    return "".join(f"{printable(segment.text).strip()}\n" for segment in transcript.segments)


def _tsv(transcript: Transcript) -> str:
    rows = (
        f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{_cell(segment.text)}\n"
        for segment in transcript.segments
    )
    return "start\tend\ttext\n" + "".join(rows)


def _srt(cues: list[Cue]) -> str:
    return "".join(
        f"{number}\n{_clock(cue.start, ',', True)} --> {_clock(cue.end, ',', True)}\n{_ARROW.sub('->', cue.text())}\n\n"
        for number, cue in enumerate(cues, start=1)
    )


def _vtt(cues: list[Cue]) -> str:
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{cue.text(_escaped)}\n\n" for cue in cues
    )


_WRITERS: dict[str, Callable[[Transcript], str]] = {"json": _json, "txt": _txt, "tsv": _tsv}
_CUE_WRITERS: dict[str, Callable[[list[Cue]], str]] = {"srt": _srt, "vtt": _vtt}


def _escaped(text: str) -> str:
    return text.translate(_VTT_ESCAPES)


def _cell(text: str) -> str:
    cell = " ".join(line.strip() for line in printable(text).replace("\t", " ").strip().splitlines())
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _clock(seconds: float, decimal_mark: str, shows_hours: bool = False) -> str:
    """[HH:]MM:SS and milliseconds. The hours are written from the first hour on, or with shows_hours."""
    total, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, rest = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours:02d}:" if hours or shows_hours else ""
    return f"{shown}{minutes:02d}:{rest:02d}{decimal_mark}{milliseconds:03d}"
