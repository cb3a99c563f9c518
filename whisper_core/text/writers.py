"""A transcript as txt, srt, vtt, tsv or json.

Ordinary text is written exactly as openai-whisper's own writers write it, with the same options (`cues.py` cuts the
cues of srt and vtt). Where their output can be unsafe, it differs:
- srt, vtt: a cue contains no blank line and no `-->`, which would end it. vtt escapes `&`, `<` and `>`, so nothing is
  lost and nothing is read as markup; srt has no escapes, so `-->` becomes `->`. A segment without text gets no cue.
- tsv: a text is one cell on one line. If a spreadsheet would run it as a formula, an apostrophe is put before it: if it
  starts with `=`, `+` or `@`, or with `-` and contains a `(` or a `|`, without which a formula reaches nothing outside
  the sheet. Other leading dashes stay, because dialogue is written with them.
- a transcript whose speakers are known: in txt and srt a name stands before what somebody starts to say, vtt has it as
  the voice of every cue, and tsv in a column more.
- except in json: control characters become spaces, and lone surrogates the replacement character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from errors import InvalidOptionError
from whisper_core.text.cues import Cue, cues_of, printable, speaker_label
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
    return json.dumps({name: fields[name] for name in ("text", "segments", "language", "speakers") if name in fields})


def _txt(transcript: Transcript) -> str:
    lines, last = [], None
    for segment in transcript.segments:
        text, speaker = printable(segment.text).strip(), speaker_label(transcript, segment)
        lines.append(f"{speaker}: {text}\n" if text and speaker and speaker != last else f"{text}\n")
        last = speaker if text else last
    return "".join(lines)


def _tsv(transcript: Transcript) -> str:
    rows = [["start", "end", "text"]]
    for segment in transcript.segments:
        rows.append([str(round(1000 * segment.start)), str(round(1000 * segment.end)), _cell(segment.text)])
    if transcript.has_speakers:
        names = [_cell(speaker_label(transcript, segment) or "") for segment in transcript.segments]
        rows = [[*row, name] for row, name in zip(rows, ["speaker", *names], strict=True)]
    return "".join("\t".join(row) + "\n" for row in rows)


def _srt(cues: list[Cue]) -> str:
    return "".join(
        f"{number}\n{_clock(cue.start, ',', True)} --> {_clock(cue.end, ',', True)}\n"
        f"{_ARROW.sub('->', cue.labelled().text())}\n\n"
        for number, cue in enumerate(cues, start=1)
    )


def _vtt(cues: list[Cue]) -> str:
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_voice(cue)}{cue.text(_escaped)}\n\n" for cue in cues
    )


_WRITERS: dict[str, Callable[[Transcript], str]] = {"json": _json, "txt": _txt, "tsv": _tsv}
_CUE_WRITERS: dict[str, Callable[[list[Cue]], str]] = {"srt": _srt, "vtt": _vtt}


def _voice(cue: Cue) -> str:
    return f"<v {_escaped(cue.speaker)}>" if cue.speaker else ""


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
