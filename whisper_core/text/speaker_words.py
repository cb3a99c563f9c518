"""Who says which words: turns, in which people speak, brought together with the segments of a transcript.

With word timestamps each word goes to whom it overlaps most, and segments are split where the speaker changes. Without
them a segment of one sentence stays whole, and one of several may be split between two of them, whose times are taken
in proportion to their lengths: nobody knows where in a sentence the voice changes.

Three faults of other programs are avoided: words that lie in nobody's turn go to the nearest by the distance of its
edge (its middle is far away where the turn is long); a word that is stretched over a silence counts only with the end
that is spoken (whisperX#270); and a few words that are given to somebody else in the middle of a person's speech stay
that person's (whisperX#470), although now and then this takes somebody's "yeah" away.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count, groupby, pairwise

from whisper_core.text.transcript import Segment, Transcript, Word
from whisper_core.text.turns import Turn

LONGEST_WORD_S = 1.0  # what is longer was stretched over a silence
ISLAND_WORDS = 3  # at most so many words, in so much time, between runs of at least as many of one other speaker
ISLAND_S = 1.5
PAUSE_S = 0.4  # beside an island: whoever is heard after a pause is believed

_SENTENCE = re.compile(
    r".+?(?:[.!?\u2026]+[\"'\u201d\u2019\u00bb)\]]*(?=\s)|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d]*|\Z)", re.DOTALL
)


def assign_speakers(
    segments: Sequence[Segment], turns: Iterable[Turn], *, next_id: int | None = None
) -> tuple[Segment, ...]:
    """The segments with their speakers, in order, each said by one person; their texts together are the same text.

    turns: of all speakers, in any order. Without any, the segments are as they were.
    next_id: of the first segment that a split makes; the part with which a segment begins keeps its id. None: one more
    than the largest. What a split makes has no tokens, because those were of the whole.
    """
    speakers = _Speakers(turns)
    if not speakers:
        return tuple(segments)
    ids = count(max((segment.id for segment in segments), default=-1) + 1 if next_id is None else next_id)
    pieces = [_pieces(segment) for segment in segments]
    spoken: list[str] = []
    for has_words, group in groupby(zip(segments, pieces, strict=True), key=lambda pair: bool(pair[0].words)):
        together = [piece for _, some in group for piece in some]
        said = _by_overlap(together, speakers)
        spoken += _without_islands(together, said) if has_words else said
    named = iter(spoken)
    return tuple(
        part
        for segment, some in zip(segments, pieces, strict=True)
        for part in _split(segment, some, [next(named) for _ in some], ids)
    )


def with_found_speakers(transcript: Transcript) -> Transcript:
    """The transcript with the speakers that its own turns tell of; as it is if it has none."""
    return transcript if transcript.turns is None else with_speakers(transcript, transcript.turns)


def with_speakers(transcript: Transcript, turns: Sequence[Turn]) -> Transcript:
    """The transcript with its segments' speakers, who have no names yet."""
    names = dict.fromkeys(speaker_ids(turns).values())
    return replace(transcript, segments=assign_speakers(transcript.segments, turns), speakers=names)


def speaker_ids(turns: Iterable[Turn]) -> dict[int, str]:
    """`S1`, `S2` … for the turns' numbers, in the order in which people are first heard."""
    first_heard: dict[int, float] = {}
    for turn in turns:
        first_heard[turn.speaker] = min(turn.start, first_heard.get(turn.speaker, turn.start))
    in_order = sorted(first_heard, key=lambda speaker: (first_heard[speaker], speaker))
    return {speaker: f"S{number}" for number, speaker in enumerate(in_order, start=1)}


@dataclass(frozen=True)
class _Piece:
    """The least of a segment that is given to one speaker: a word, or a sentence where words have no times."""

    start: float  # when it is spoken, which is not as long as it is shown for a word that was stretched
    end: float
    length: int  # of its text, in characters


def _pieces(segment: Segment) -> list[_Piece]:
    """At least one; their lengths together are the text's."""
    if segment.words:
        return _words_of(segment, segment.words)
    lengths = [len(sentence) for sentence in _SENTENCE.findall(segment.text)]
    if sum(lengths) != len(segment.text) or not lengths:
        lengths = [len(segment.text)]
    seconds_each = (segment.end - segment.start) / max(1, len(segment.text))
    borders = [segment.start + seconds_each * length for length in accumulate(lengths, initial=0)]
    borders[-1] = segment.end
    return [_Piece(*times, length) for times, length in zip(pairwise(borders), lengths, strict=True)]


def _words_of(segment: Segment, words: Sequence[Word]) -> list[_Piece]:
    """Whatever the text has beside its words belongs to the word before it, or to the first."""
    starts, position = [], 0
    for word in words:
        found = segment.text.find(word.word, position)
        starts.append(position if found < 0 else found)
        position = starts[-1] + (len(word.word) if found >= 0 else 0)
    borders = [0, *starts[1:], len(segment.text)]
    return [
        _Piece(*_spoken(word, is_first=number == 0), end - start)
        for number, (word, (start, end)) in enumerate(zip(words, pairwise(borders), strict=True))
    ]


def _spoken(word: Word, *, is_first: bool) -> tuple[float, float]:
    """A segment's first word is stretched over the silence before it, any other over the one after it."""
    if word.end - word.start <= LONGEST_WORD_S:
        return word.start, word.end
    return (word.end - LONGEST_WORD_S, word.end) if is_first else (word.start, word.start + LONGEST_WORD_S)


class _Speakers:
    """Turns by the time at which they are."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker))
        self._ids = speaker_ids(self._turns)
        self._starts = [turn.start for turn in self._turns]
        # Of the turns so far: which ends last, and when.
        self._last = list(accumulate(range(len(self._turns)), self._later))
        self._latest_ends = [self._turns[index].end for index in self._last]

    def __bool__(self) -> bool:
        return bool(self._turns)

    def overlapping(self, start: float, end: float) -> dict[str, float]:
        """How many seconds of this time each person speaks; nobody who does not."""
        seconds: dict[str, float] = {}
        for turn in self._turns[bisect_left(self._latest_ends, start) : bisect_right(self._starts, end)]:
            shared = min(end, turn.end) - max(start, turn.start)
            if shared > 0:
                speaker = self._ids[turn.speaker]
                seconds[speaker] = seconds.get(speaker, 0.0) + shared
        return seconds

    def nearest(self, start: float, end: float) -> str:
        """Whose turn's edge is nearest to a time in which nobody speaks; of two as near, who spoke before it."""
        after = bisect_right(self._starts, start)
        near = [self._turns[self._last[after - 1]]] if after else []
        near += self._turns[after : after + 1]
        return self._ids[min(near, key=lambda turn: max(turn.start - end, start - turn.end, 0.0)).speaker]

    def _later(self, one: int, other: int) -> int:
        return other if self._turns[other].end > self._turns[one].end else one


def _by_overlap(pieces: Sequence[_Piece], speakers: _Speakers) -> list[str]:
    """Where two people have as much of a piece, whoever had the one before goes on."""
    said: list[str] = []
    for piece in pieces:
        seconds = speakers.overlapping(piece.start, piece.end)
        if not seconds:
            said.append(speakers.nearest(piece.start, piece.end))
            continue
        most = max(seconds.values())
        first = [speaker for speaker, shared in seconds.items() if shared == most]
        said.append(said[-1] if said and said[-1] in first else first[0])
    return said


def _without_islands(words: Sequence[_Piece], said: Sequence[str]) -> list[str]:
    """With the few words that interrupt a person, without a pause, given to that person."""
    runs = list(_runs(said))
    smooth = list(said)
    for (a, b), (c, d), (e, f) in zip(runs, runs[1:], runs[2:], strict=False):
        is_between = said[a] == said[e] and min(b - a, f - e) >= ISLAND_WORDS
        is_small = d - c <= ISLAND_WORDS and words[d - 1].end - words[c].start <= ISLAND_S
        if is_between and is_small and not _has_pause(words[b - 1 : e + 1]):
            smooth[c:d] = [said[a]] * (d - c)
    return smooth


def _runs(said: Sequence[str]) -> Iterator[tuple[int, int]]:
    """First and one past the last of those in a row that are one person's."""
    borders = [0, *(index for index in range(1, len(said)) if said[index] != said[index - 1]), len(said)]
    return pairwise(borders)


def _has_pause(words: Sequence[_Piece]) -> bool:
    """Between the first and the second, or between the last two."""
    before, after = words[1].start - words[0].end, words[-1].start - words[-2].end
    return round(max(before, after), 3) >= PAUSE_S  # times are multiples of a hundredth


def _split(segment: Segment, pieces: Sequence[_Piece], said: Sequence[str], ids: Iterator[int]) -> Iterator[Segment]:
    """A segment for each stretch of one speaker's."""
    runs = list(_runs(said))
    if len(runs) == 1:
        yield segment.said_by(said[0])
        return
    ends = list(accumulate(piece.length for piece in pieces))
    for first, behind in runs:
        words = segment.words and tuple(replace(word, speaker=said[first]) for word in segment.words[first:behind])
        is_first, is_last = first == 0, behind == len(pieces)
        yield replace(
            segment,
            id=segment.id if is_first else next(ids),
            start=segment.start if is_first else words[0].start if words else pieces[first].start,
            end=segment.end if is_last else words[-1].end if words else pieces[behind - 1].end,
            text=segment.text[0 if is_first else ends[first - 1] : ends[behind - 1]],
            tokens=(),
            words=words,
            speaker=said[first],
        )
