"""A transcript cut into cues: what a subtitle shows at a time, as openai-whisper's `SubtitlesWriter` cuts it.

Differences, none of which shows in ordinary text: a cue without visible text is left out, no cue contains a blank line,
control characters become spaces, and no cue ends before it starts or behind the end of the recording.

Without word timestamps openai-whisper ignores all options. Here `max_line_width` still breaks the lines inside a
segment's cue, because that changes no time; the others are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from errors import InvalidOptionError
from whisper_core.text.transcript import Segment, Transcript, Word
from whisper_core.text.writer_options import PLAIN, WriterOptions

NO_LIMIT = 1000  # openai-whisper's, in characters and in words
LONG_PAUSE_SECONDS = 3.0  # where cues ignore the segments, one still ends here

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LINE_BREAK = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Where a line may break in a text whose words are not known: before a blank, and between characters of a script that is
# written without blanks, but not before punctuation that closes.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CLOSING = "\u3001\u3002\u300d\u300f\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\u2026\u201d\u2019)\\].,!?:;"
_PIECE = re.compile(rf"\s*(?:[{UNSPACED}][{_CLOSING}\u0300-\u036f\u0e31-\u0e4e]*|[^\s{UNSPACED}]+)")


@dataclass(frozen=True)
class Cue:
    start: float
    end: float
    parts: tuple[str, ...]  # the text in pieces, each with its leading blank or line break
    marked: int | None = None  # the piece that is said during this cue, where words are highlighted
    speaker: str | None = None  # the name of who says it; a cue is one speaker's
    starts_turn: bool = False  # whether somebody else says the text before it

    def labelled(self) -> Cue:
        """With the speaker's name as the first piece, where one starts to speak."""
        if not self.starts_turn:
            return self
        parts = (f"{self.speaker}: ", self.parts[0].lstrip(), *self.parts[1:])
        return replace(self, parts=parts, marked=None if self.marked is None else self.marked + 1)

    def text(self, escape: Callable[[str], str] = str, mark: tuple[str, str] = ("<u>", "</u>")) -> str:
        """Lines without a blank one among them. escape: makes markup of a piece into text."""
        pieces = [escape(part) for part in self.parts]
        if self.marked is not None and (word := self.parts[self.marked].lstrip()):
            blank = self.parts[self.marked].removesuffix(word)
            pieces[self.marked] = f"{blank}{mark[0]}{escape(word)}{mark[1]}"
        return without_blank_lines("".join(pieces))


def cues_of(
    transcript: Transcript, options: WriterOptions = PLAIN, audio_seconds: float | None = None
) -> Iterator[Cue]:
    """The cues that have visible text. audio_seconds: how long the recording is, if that is known.

    Raises InvalidOptionError for an option that needs word timestamps when there are none.
    """
    if (missing := options.missing_in(transcript)) is not None:
        raise InvalidOptionError(
            f"{missing} needs word timestamps, and this transcript has none. Transcribe the recording again with "
            "word_timestamps; max_line_width alone does without them.",
            field=missing,
        )
    if options.without_speakers:
        transcript = transcript.without_speakers()
    if transcript.has_words or options.max_line_width is not None:
        cues = _cut(transcript, options)
    else:
        cues = (
            Cue(segment.start, segment.end, (printable(segment.text),), speaker=speaker_label(transcript, segment))
            for segment in transcript.segments
        )
    visible = (cue for cue in cues if any(not part.isspace() for part in cue.parts if part))
    for cue in _with_turns(visible):
        yield _in_time(cue, audio_seconds)


def speaker_label(transcript: Transcript, segment: Segment) -> str | None:
    """The name of who says it, on one line; None if that is not known."""
    if segment.speaker is None:
        return None
    return " ".join(printable(transcript.name_of(segment.speaker)).split()) or segment.speaker


def printable(text: str) -> str:
    """With a space for each control character, and the replacement character for each lone surrogate."""
    return _SURROGATE.sub("\ufffd", _CONTROL.sub(" ", text))


def wrapped(text: str, width: int | None) -> str:
    """In lines of at most so many characters, which break as in cues; a longer word stays whole."""
    words = [Word(piece, 0.0, 0.0, 1.0) for piece in pieces_of(_one_line(text))]
    cut = _Cutter(WriterOptions(max_line_width=width)).cues([words])
    return "".join(word.word for words in cut for word in words)


def pieces_of(text: str) -> list[str]:
    """The words of a text as far as they can be told without a dictionary, each with the blanks before it: what stands
    between blanks, and each character of a script that is written without them."""
    return _PIECE.findall(text)


def without_blank_lines(text: str) -> str:
    return "\n".join(stripped for line in text.splitlines() if (stripped := line.strip()))


def _with_turns(cues: Iterator[Cue]) -> Iterator[Cue]:
    """Marks the cues with which somebody starts to speak; where words are highlighted, several have the same text."""
    last = Cue(0.0, 0.0, ())
    starts_turn = False
    for cue in cues:
        if cue.parts is not last.parts:
            starts_turn = cue.speaker is not None and cue.speaker != last.speaker
        last = cue
        yield replace(cue, starts_turn=True) if starts_turn else cue


def _in_time(cue: Cue, audio_seconds: float | None) -> Cue:
    """A model may hear a last sentence end behind the recording. Its text stays, in the time that there is."""
    last = math.inf if audio_seconds is None else audio_seconds
    start = min(cue.start, last)
    return replace(cue, start=start, end=max(start, min(cue.end, last)))


def _cut(transcript: Transcript, options: WriterOptions) -> Iterator[Cue]:
    for words in _Cutter(options).cues([_words(transcript, segment) for segment in transcript.segments]):
        parts = tuple(word.word for word in words)
        start, end, speaker = words[0].start, words[-1].end, words[0].speaker
        if not options.highlight_words:
            yield Cue(start, end, parts, speaker=speaker)
            continue
        shown_until = start
        for number, word in enumerate(words):
            if _milliseconds(word.start) > _milliseconds(shown_until):
                yield Cue(shown_until, word.start, parts, speaker=speaker)
            yield Cue(word.start, word.end, parts, number, speaker)
            shown_until = word.end


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _words(transcript: Transcript, segment: Segment) -> list[Word]:
    """In one line each, and with the speaker's name. Pieces of the text that all have the segment's times, if it has no
    words."""
    name = speaker_label(transcript, segment)
    if segment.words is None:
        pieces = pieces_of(_one_line(segment.text))
        return [Word(piece, segment.start, segment.end, 1.0, name) for piece in pieces]
    return [replace(word, word=_one_line(word.word), speaker=name) for word in segment.words]


def _one_line(text: str) -> str:
    return _LINE_BREAK.sub(" ", printable(text))


class _Cutter:
    """openai-whisper's loop over the words, step by step. A cue ends where the speaker changes, and the name of who
    starts to speak takes room in its line."""

    def __init__(self, options: WriterOptions) -> None:
        self._keeps_segments = options.max_line_count is None or options.max_line_width is None
        self._max_width = options.max_line_width or NO_LIMIT
        self._max_lines = options.max_line_count
        self._max_words = options.max_words_per_line or NO_LIMIT
        self._cue: list[Word] = []
        self._width = 0  # of the current line
        self._lines = 1

    def cues(self, segments: Sequence[list[Word]]) -> Iterator[list[Word]]:
        """The words of each cue. A line's first one is stripped, and follows a line break unless it starts the cue."""
        last_start = next((word.start for words in segments for word in words), 0.0)
        last_speaker: str | None = None
        for words in segments:
            for number, word in enumerate(words):
                is_long_pause = not self._keeps_segments and word.start - last_start > LONG_PAUSE_SECONDS
                is_first = number % self._max_words == 0 and self._keeps_segments
                starts_turn = word.speaker != last_speaker
                yield from self._add(word, is_long_pause, bool(self._cue) and (is_first or starts_turn))
                self._width += len(f"{word.speaker}: ") if starts_turn and word.speaker else 0
                last_start, last_speaker = word.start, word.speaker
        if self._cue:
            yield self._cue

    def _add(self, word: Word, is_long_pause: bool, is_cut: bool) -> Iterator[list[Word]]:
        has_room = self._width + len(word.word) <= self._max_width
        if self._width > 0 and has_room and not is_long_pause and not is_cut:
            self._width += len(word.word)
            self._cue.append(word)
            return
        text = word.word.strip()
        self._width, previous_width = len(text), self._width
        is_full = self._max_lines is not None and (is_long_pause or self._lines >= self._max_lines)
        if (self._cue and is_full) or is_cut:
            yield self._cue
            self._cue, self._lines = [], 1
        elif previous_width > 0:
            self._lines += 1
            text = "\n" + text
        self._cue.append(replace(word, word=text))
