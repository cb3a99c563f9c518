"""Times for the words of a text that somebody has changed: those of unchanged words stay, and new ones lie between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from whisper_core.text.cues import pieces_of
from whisper_core.text.transcript import Word

TYPED = 1.0  # the probability of a word that a person wrote
# To compare two texts takes longer than the product of their lengths in the worst case. Longer differences, which no
# segment of a recording has, get times in proportion.
MAX_COMPARED = 250 * 250


@dataclass(frozen=True)
class _Piece:
    """A part of a word of the old text that could stand alone: of scripts without spaces each character."""

    text: str
    word: int  # which one it is part of
    start: float
    end: float


@dataclass(frozen=True)
class _Span:
    """Old pieces that became new ones."""

    is_same: bool
    old: Sequence[_Piece]
    new: Sequence[str]


def words_of(text: str, start: float, end: float, speaker: str | None = None) -> tuple[Word, ...]:
    """The words of a text of which only the whole has times, in proportion to their lengths. Joined they are the text,
    but for blanks at its end."""
    return tuple(_spread(pieces_of(text), start, end, speaker))


def retimed(old: Sequence[Word], text: str, start: float, end: float) -> tuple[Word, ...]:
    """The words of the new text. start, end: of the segment; no word lies outside."""
    made: list[Word] = []
    for span, before, after in _with_neighbours(_spans(_pieces(old), pieces_of(text)), start, end):
        if span.is_same:
            made += _kept(span, old)
            continue
        first = span.old[0].start if span.old else before
        last = span.old[-1].end if span.old else after
        speaker = old[span.old[0].word].speaker if span.old else (made[-1].speaker if made else None)
        made += _spread(span.new, first, last, speaker)
    return within(made, start, end)


def within(words: Sequence[Word], start: float, end: float) -> tuple[Word, ...]:
    """In order, and inside these times."""
    made, last = [], start
    for word in words:
        begin = min(max(word.start, last), end)
        made.append(replace(word, start=begin, end=min(max(word.end, begin), end)))
        last = begin
    return tuple(made)


def between(start: float, end: float, share: float) -> float:
    """A time so far on the way, in milliseconds."""
    return min(max(round(start + (end - start) * share, 3), start), end)


def moved(words: Sequence[Word], seconds: float) -> tuple[Word, ...]:
    return tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in words)


def cut_words(words: Sequence[Word], at_char: int) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Those before that character of their joined text, and those behind. A word that it is inside of is cut."""
    seen = 0
    for index, word in enumerate(words):
        if seen >= at_char:
            return tuple(words[:index]), tuple(words[index:])
        if seen + len(word.word) > at_char:
            at = at_char - seen
            middle = between(word.start, word.end, at / len(word.word))
            left, right = (
                replace(word, word=word.word[:at], end=middle),
                replace(word, word=word.word[at:], start=middle),
            )
            return (*words[:index], left), (right, *words[index + 1 :])
        seen += len(word.word)
    return tuple(words), ()


def _pieces(words: Sequence[Word]) -> list[_Piece]:
    return [
        _Piece(part.word, index, part.start, part.end)
        for index, word in enumerate(words)
        for part in _spread(pieces_of(word.word), word.start, word.end, None)
    ]


def _spread(pieces: Sequence[str], start: float, end: float, speaker: str | None) -> Iterator[Word]:
    """Words that share the time in proportion to their characters."""
    lengths = [max(1, len(piece.strip())) for piece in pieces]
    total, seen, begin = sum(lengths), 0, start
    for piece, length in zip(pieces, lengths, strict=True):
        seen += length
        until = end if seen == total else max(begin, between(start, end, seen / total))
        yield Word(piece, begin, until, TYPED, speaker)
        begin = until


def _spans(old: Sequence[_Piece], new: Sequence[str]) -> list[_Span]:
    """The new pieces in order, as stretches that are the same as before and those that are not."""
    texts, wanted = [_heard(piece.text) for piece in old], [_heard(piece) for piece in new]
    most = min(len(texts), len(wanted))
    head = next((index for index in range(most) if texts[index] != wanted[index]), most)
    most -= head
    tail = next((index for index in range(most) if texts[-1 - index] != wanted[-1 - index]), most)
    old_end, new_end = len(texts) - tail, len(wanted) - tail
    spans = [_Span(True, old[:head], new[:head])]
    if (old_end - head) * (new_end - head) > MAX_COMPARED:
        spans.append(_Span(False, old[head:old_end], new[head:new_end]))
    else:
        matcher = SequenceMatcher(None, texts[head:old_end], wanted[head:new_end], autojunk=False)
        spans += [
            _Span(tag == "equal", old[head + i : head + i_end], new[head + j : head + j_end])
            for tag, i, i_end, j, j_end in matcher.get_opcodes()
        ]
    spans.append(_Span(True, old[old_end:], new[new_end:]))
    return [span for span in spans if span.new]


def _heard(text: str) -> str:
    """What of a word can be heard: neither capitals nor punctuation change when it is said."""
    return "".join(character for character in text if character.isalnum()).casefold() or text.strip()


def _with_neighbours(spans: Sequence[_Span], start: float, end: float) -> Iterator[tuple[_Span, float, float]]:
    """Each with the end of what comes before it and the start of what comes after it."""
    for index, span in enumerate(spans):
        before = next((each.old[-1].end for each in reversed(spans[:index]) if each.old), start)
        after = next((each.old[0].start for each in spans[index + 1 :] if each.old), end)
        yield span, before, max(before, after)


def _kept(span: _Span, old: Sequence[Word]) -> Iterator[Word]:
    """Pieces of one old word stay one, with all of it or with what of it is left."""
    index = 0
    while index < len(span.old):
        of_word = span.old[index].word
        last = index
        while last + 1 < len(span.old) and span.old[last + 1].word == of_word:
            last += 1
        text = "".join(span.new[index : last + 1])
        start, end = span.old[index].start, span.old[last].end
        yield replace(old[of_word], word=text, start=start, end=end)
        index = last + 1
