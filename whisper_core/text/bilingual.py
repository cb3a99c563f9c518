"""A transcript together with its translation, matched by the times at which both are said."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, groupby

from whisper_core.text.cues import Cue, cues_of, wrapped
from whisper_core.text.paragraphs import Passage, one_line, paragraphs_of
from whisper_core.text.transcript import Transcript
from whisper_core.text.writer_options import WriterOptions

LEAST_SHARE = 0.5  # of the shorter one's time: with so much in common, a translation and a cue are shown together


def bilingual_cues(
    original: Transcript, translation: Transcript, options: WriterOptions, audio_seconds: float | None
) -> Iterator[Cue]:
    """The original's cues, each with what is said in the translation meanwhile, on lines of its own.

    A piece of the translation that spans several cues is in each of them, so that it stays in view. One for whose time
    the original has no cue gets one. Raises what cues_of() raises for the original; the translation is cut as far as
    its word timestamps allow.
    """
    texts = [list(same) for _, same in groupby(cues_of(original, options, audio_seconds), lambda cue: id(cue.parts))]
    texts.sort(key=lambda same: same[0].start)
    spans = _Spans((same[0].start, same[-1].end) for same in texts)
    pieces: list[list[str]] = [[] for _ in texts]
    alone: list[list[Cue]] = []
    for piece in cues_of(translation, _of_translation(translation, options), audio_seconds):
        text = one_line(piece.text())
        together = spans.together_with(piece.start, piece.end)
        for index in together:
            pieces[index].append(text)
        if not together:
            alone.append([Cue(piece.start, piece.end, (wrapped(text, options.max_line_width),))])
    for same, translated in zip(texts, pieces, strict=True):
        if translated:
            parts = (*same[0].parts, "\n" + wrapped(" ".join(translated), options.max_line_width))
            same[:] = [replace(cue, parts=parts) for cue in same]
    for same in sorted(texts + alone, key=lambda same: same[0].start):
        yield from same


def bilingual_paragraphs(original: Transcript, translation: Transcript) -> list[Passage]:
    """The original's paragraphs, each with its translation, of which every segment is in exactly one of them."""
    paragraphs = sorted(paragraphs_of(original), key=lambda paragraph: paragraph.start)
    if not paragraphs:
        return list(paragraphs_of(translation))
    spans = _Spans((paragraph.start, paragraph.end) for paragraph in paragraphs)
    texts = [""] * len(paragraphs)
    for segment in translation.segments:
        texts[spans.nearest_to(segment.start, segment.end)] += one_line(segment.text)
    return [replace(paragraph, translation=text.strip()) for paragraph, text in zip(paragraphs, texts, strict=True)]


def _of_translation(translation: Transcript, options: WriterOptions) -> WriterOptions:
    """Its lines are broken only once it is known what is shown together."""
    kept = options if options.missing_in(translation) is None else options.without_words()
    return replace(kept, highlight_words=False, without_speakers=True)  # the original's cues have their names


class _Spans:
    """Spans of time in the order of their starts. They may overlap each other."""

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        self._spans: Sequence[tuple[float, float]] = list(spans)
        self._starts = [start for start, _ in self._spans]
        self._latest_ends = list(accumulate((end for _, end in self._spans), max))  # of each and those before it

    def together_with(self, start: float, end: float) -> list[int]:
        """The spans with enough time in common with this one, or else the one with most. None: it overlaps no span."""
        shared = list(self._shared(start, end))
        enough = [index for index, seconds in shared if seconds >= LEAST_SHARE * min(end - start, self._length(index))]
        most, seconds = max(shared, key=lambda each: each[1], default=(0, 0.0))
        return enough or ([most] if seconds > 0 else [])

    def nearest_to(self, start: float, end: float) -> int:
        """The span with which this one has most time in common, or else the last that starts before it."""
        shared = list(self._shared(start, end))
        if shared:
            return max(shared, key=lambda each: each[1])[0]
        return max(bisect_right(self._starts, start) - 1, 0)

    def _length(self, index: int) -> float:
        start, end = self._spans[index]
        return end - start

    def _shared(self, start: float, end: float) -> Iterator[tuple[int, float]]:
        """Each span that this one overlaps or touches, with their common seconds."""
        for index in range(bisect_left(self._latest_ends, start), bisect_right(self._starts, end)):
            its_start, its_end = self._spans[index]
            if its_end >= start:
                yield index, min(end, its_end) - max(start, its_start)
