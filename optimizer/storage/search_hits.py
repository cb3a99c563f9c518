"""The sentence that a search found, with its words marked."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice

from sqlalchemy import Connection, bindparam, select

from optimizer.storage.mapping import folded
from optimizer.storage.schema import task_texts
from optimizer.storage.search_index import names_of
from optimizer.storage.search_words import Finder, Phrase, read_query
from optimizer.tasks.search_hit import HitField, SearchHit, SnippetPart
from optimizer.tasks.task import Task

MOST_MATCHES = 500  # that one text is looked through for
LONGEST_SNIPPET = 240  # characters
BEFORE_MATCH = 80  # of a longer sentence
_SENTENCES = select(task_texts.c.task_id, task_texts.c.sentences).where(
    task_texts.c.task_id.in_(bindparam("task_ids", expanding=True))
)


def hits_of(connection: Connection, tasks: Sequence[Task], query: str) -> dict[str, SearchHit]:
    """Of tasks that the query finds, by id. A task whose sentences are not known has a hit only in its names."""
    rows = connection.execute(_SENTENCES, {"task_ids": [task.id for task in tasks]})
    sentences = {row.task_id: row.sentences or "" for row in rows}
    hits = ((task.id, hit_in(task, sentences.get(task.id, ""), query)) for task in tasks)
    return {task_id: hit for task_id, hit in hits if hit is not None}


def hit_in(task: Task, sentences: str, query: str) -> SearchHit | None:
    """sentences: of the task's text, packed."""
    finder = _finder(query)
    if finder is None:
        return None
    places, _, block = sentences.partition("\n")
    line = best_line(block, finder)
    if line is not None:
        segment, _, start = places.split(" ")[line].partition(":")
        snippet = marked(block.split("\n")[line], finder)
        return SearchHit(HitField.TEXT, snippet, int(segment), float(start))
    for field, name in names_of(task):
        snippet = marked(name, finder)
        if any(part.is_match for part in snippet):
            return SearchHit(field, snippet)
    return None


@lru_cache(maxsize=64)
def _finder(query: str) -> Finder | None:
    phrases = read_query(query)
    return Finder(phrases) if phrases else None


def best_line(block: str, finder: Finder) -> int | None:
    """The first of the lines with the most of the phrases."""
    text = _folded_lines(block)
    ends = [match.start() for match in re.finditer("\n", text)]
    found: dict[int, set[Phrase]] = defaultdict(set)
    for start, _, phrase in islice(finder.find(text), MOST_MATCHES):
        line = bisect_right(ends, start)
        found[line].add(phrase)
        if len(found[line]) == finder.num_phrases:
            return line
    return min(found, key=lambda line: (-len(found[line]), line), default=None)


def _folded_lines(block: str) -> str:
    return block.lower() if block.isascii() else folded(block)


def marked(text: str, finder: Finder) -> tuple[SnippetPart, ...]:
    """The text, or what of a long one is around the first match, in parts."""
    spans = [*_spans_in(text, finder)]
    first, last = _cut(text, spans)
    parts = []
    at = first
    for start, end in spans:
        if start >= at and end <= last:
            parts += [SnippetPart(text[at:start], False), SnippetPart(text[start:end], True)]
            at = end
    parts.append(SnippetPart(text[at:last], False))
    if first > 0:
        parts.insert(0, SnippetPart("…", False))
    if last < len(text):
        parts.append(SnippetPart("…", False))
    return tuple(part for part in parts if part.text)


def _cut(text: str, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """What of the text is shown, from one space to another where there is one near."""
    if len(text) <= LONGEST_SNIPPET:
        return 0, len(text)
    first = max(0, min(spans[0][0] - BEFORE_MATCH if spans else 0, len(text) - LONGEST_SNIPPET))
    last = min(len(text), first + LONGEST_SNIPPET)
    if first > 0 and (space := text.find(" ", first, first + BEFORE_MATCH // 4)) >= 0:
        first = space + 1
    if last < len(text) and (space := text.rfind(" ", last - BEFORE_MATCH // 4, last)) >= 0:
        last = space
    return first, last


def _spans_in(text: str, finder: Finder) -> Iterator[tuple[int, int]]:
    """Where the phrases are in a text as it is written. Folding may change how many characters there are."""
    if text.isascii():
        for start, end, _ in finder.find(text.lower()):
            yield start, end
        return
    pieces, starts = [], []  # of the folded text: from which character of the text each of its characters is
    for start, cluster in _clusters(text):
        piece = folded(cluster)
        pieces.append(piece)
        starts += [start] * len(piece)
    starts.append(len(text))
    for start, end, _ in finder.find("".join(pieces)):
        first, last = starts[start], end
        while last < len(starts) - 1 and starts[last] == starts[last - 1]:
            last += 1  # a character that folds into several is marked as a whole
        yield first, starts[last]


def _clusters(text: str) -> Iterator[tuple[int, str]]:
    """Characters with what combines with them."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not _combines(text[at]):
            yield start, text[start:at]
            start = at


def _combines(character: str) -> bool:
    """Also what NFKC alone combines: vowels of Hangul, and the half-width marks of kana."""
    is_mark = unicodedata.category(character)[0] == "M"
    return is_mark or "\u1160" <= character <= "\u11ff" or character in "\uff9e\uff9f"
