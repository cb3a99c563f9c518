"""Subtitles for particular players: ass, which pysubs2 writes, and lrc, the lines of a song with their times.

Neither format has escapes. So that no text becomes markup, a character that would start some is replaced by its
fullwidth twin, and a backslash, which starts a command in ass, is followed by a word joiner.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from itertools import groupby

from whisper_core.text.cues import LONG_PAUSE_SECONDS, Cue, without_blank_lines

LAST_ASS_TIME = 35_999_990  # 9:59:59.99 in milliseconds: the hours have one digit. What comes later is shown there

_ASS_MARKUP = str.maketrans({"{": "\uff5b", "}": "\uff5d", "\\": "\\\u2060"})
_LRC_TAG = re.compile(r"\[(?=[^\]]*:)")
_LRC_WORD_TIME = re.compile(r"<(?=\s*\d+\s*:)")


def ass(cues: Iterable[Cue]) -> str:
    """White, outlined lines at the bottom, of a size that suits a wide picture; said words are underlined."""
    from pysubs2 import SSAEvent, SSAFile, SSAStyle  # imported when it is needed, for a faster start

    file = SSAFile()
    file.info |= {"PlayResX": "1920", "PlayResY": "1080", "WrapStyle": "0", "ScaledBorderAndShadow": "yes"}
    file.styles["Default"] = SSAStyle(fontsize=60.0, outline=3.0, shadow=0.0, marginl=90, marginr=90, marginv=60)
    for cue in cues:
        text = cue.labelled().text(lambda piece: piece.translate(_ASS_MARKUP), (r"{\u1}", r"{\u0}"))
        start, end = (min(round(seconds * 1000), LAST_ASS_TIME) for seconds in (cue.start, cue.end))
        file.events.append(SSAEvent(start, end, text.replace("\n", r"\N"), name=_ass_name(cue)))
    return file.to_string("ass", header_notice="")


def _ass_name(cue: Cue) -> str:
    """For editors, which list it beside the text. A comma would end the field."""
    return (cue.speaker or "").replace(",", "\uff0c")


def lrc(cues: Iterable[Cue]) -> str:
    """A row for each line of a cue, all with the time at which it starts. A row without text ends the last cue before a
    long pause, because a row has no end of its own. With highlighted words each has its time before it.
    """
    rows: list[str] = []
    end: float | None = None
    for _, group in groupby(cues, key=lambda cue: id(cue.parts)):  # the cues of one text, a word highlighted in each
        same = [cue.labelled() for cue in group]
        if end is not None and same[0].start - end >= LONG_PAUSE_SECONDS:
            rows.append(_row(end, ""))
        rows += [_row(same[0].start, line) for line in _lrc_text(same).split("\n")]
        end = same[-1].end
    return "\n".join([*rows, *([] if end is None else [_row(end, "")]), ""])


def _lrc_text(same: list[Cue]) -> str:
    starts = {cue.marked: cue.start for cue in same if cue.marked is not None}
    pieces = []
    neutral = io.StringIO(_without_tags("".join(same[0].parts)), newline="")  # a tag may lie across several parts
    for number, part in enumerate(same[0].parts):
        part = neutral.read(len(part))
        word = part.lstrip()
        time = f"<{_lrc_clock(starts[number])}>" if word and number in starts else ""
        pieces.append(f"{part.removesuffix(word)}{time}{word}")
    return without_blank_lines("".join(pieces))


def _without_tags(text: str) -> str:
    """As long as before."""
    return _LRC_WORD_TIME.sub("\uff1c", _LRC_TAG.sub("\uff3b", text))


def _row(seconds: float, text: str) -> str:
    return f"[{_lrc_clock(seconds)}]{text}"


def _lrc_clock(seconds: float) -> str:
    """Minutes, which may be many, seconds and hundredths."""
    total, hundredths = divmod(round(seconds * 100), 100)
    return f"{total // 60:02d}:{total % 60:02d}.{hundredths:02d}"
