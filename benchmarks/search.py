"""How long a search of the list takes in a large archive: `python -m benchmarks.search [--texts 100000]`.

Fills a data folder with completed transcripts of ten minutes each (1,500 words, or 2,400 Chinese characters in every
tenth), whose words are as frequent as those of a language are (Zipf's law over 60,000 words), and asks for the first
page of 50 with its counts and hits, in this process. Every kind of query is asked for many times, in turn with the
others, with other words each time where there are others. Also measured is how long it takes to get texts into the
index after an update. `--folder` keeps the data, to measure again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select, text, update
from ulid import ULID

from benchmarks.machine import describe_machine
from optimizer.storage import mapping, search_index
from optimizer.storage.schema import IndexForm, arrivals, task_texts, tasks
from optimizer.storage.search_filler import SearchFiller
from optimizer.storage.search_index import SearchedText
from optimizer.storage.search_words import spaced
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.search_hit import Sentence
from optimizer.tasks.task import NewTask, Priority, Task, TaskFilter, TaskOptions, TaskStatus

WORDS_OF_A_TEXT, CHARACTERS_OF_A_TEXT = 1_500, 2_400
WORDS_OF_A_SENTENCE, CHARACTERS_OF_A_SENTENCE = 10, 16
SMALL_OWNER, SMALL_EVERY = "small", 10_000  # one task in so many is this owner's; all others are one owner's
LARGE_OWNER = "large"
ROWS_AT_ONCE = FILLED = 500
ALL_OF_A_TRANSACTION, AS_USUAL = 1 << 28, 1 << 20  # bytes
_HASH_SIZE = text("INSERT INTO search_index (search_index, rank) VALUES ('hashsize', :bytes)")
SYLLABLES = [first + vowel for first, vowel in product("bdfghklmnprstvwz", ("a", "e", "i", "o", "u", "ay", "ee", "ou"))]
CHARACTERS = [chr(code) for code in range(0x4E00, 0x4E00 + 3_500)]


def make_words(count: int) -> list[str]:
    """The first ones are short, as frequent words are."""
    words = [*SYLLABLES, *map("".join, product(SYLLABLES, SYLLABLES))]
    more = map("".join, product(SYLLABLES, SYLLABLES, SYLLABLES[:8]))
    return [*words, *(word for _, word in zip(range(count - len(words)), more, strict=False))]


class Language:
    """Texts of words that are as frequent as their place among all words lets them be."""

    def __init__(self, words: list[str], chance: np.random.Generator, joint: str) -> None:
        self.words = words
        self._chance = chance
        self._joint = joint
        shares = 1 / np.arange(1, len(words) + 1)
        self._until = np.cumsum(shares / shares.sum())

    def text(self, count: int) -> list[str]:
        picked = np.searchsorted(self._until, self._chance.random(count))
        return [self.words[min(place, len(self.words) - 1)] for place in picked]

    def sentences(self, words: list[str], of: int) -> list[str]:
        return [self._joint.join(words[begin : begin + of]) for begin in range(0, len(words), of)]


@dataclass(frozen=True)
class Corpus:
    english: Language
    chinese: Language
    samples: list[list[str]]  # sentences of some texts
    chinese_samples: list[list[str]]


def empty_corpus() -> Corpus:
    chance = np.random.default_rng(14)
    return Corpus(Language(make_words(60_000), chance, " "), Language(CHARACTERS, chance, ""), [], [])


def fill(store: TaskStore, corpus: Corpus, count: int, *, is_indexed: bool = True) -> None:
    """Goes on where an earlier run was ended."""
    now = datetime.now(UTC)
    with store.reading() as rows:
        filled = sum(rows.counts().values())
    _keep_at_once(store, ALL_OF_A_TRANSACTION)
    for begin in range(filled, count, ROWS_AT_ONCE):
        listed = [_task(seq, now) for seq in range(begin + 1, min(begin + ROWS_AT_ONCE, count) + 1)]
        with store.database.writing() as connection:
            connection.execute(insert(tasks), [mapping.task_to_row(task) for task in listed])
            texts = [_text_row(task, *_text(corpus, task.seq)) for task in listed]
            connection.execute(insert(task_texts), texts)
            connection.execute(update(arrivals).values(last_seq=begin + len(listed)))
            if is_indexed:
                search_index.write(connection, [SearchedText(task, None) for task in listed])
        if begin % 10_000 == 0:
            print(f"{begin} texts", file=sys.stderr)
    _keep_at_once(store, AS_USUAL)


def _keep_at_once(store: TaskStore, words_bytes: int) -> None:
    """How much of a transaction FTS5 keeps before it writes a part of the index, which it has to merge later."""
    with store.database.writing() as connection:
        connection.execute(_HASH_SIZE, {"bytes": words_bytes})


def _text(corpus: Corpus, seq: int) -> tuple[list[str], list[str]]:
    """Its words, and its sentences."""
    if seq % 10 == 0:
        words = corpus.chinese.text(CHARACTERS_OF_A_TEXT)
        return words, corpus.chinese.sentences(words, CHARACTERS_OF_A_SENTENCE)
    words = corpus.english.text(WORDS_OF_A_TEXT)
    return words, corpus.english.sentences(words, WORDS_OF_A_SENTENCE)


def take_samples(store: TaskStore, corpus: Corpus) -> None:
    """Sentences of texts that are there."""
    with store.reading() as rows:
        page = rows.page(TaskFilter(limit=200)).tasks
    with store.database.reading() as connection:
        query = select(task_texts.c.task_id, task_texts.c.sentences)
        of_page = query.where(task_texts.c.task_id.in_([task.id for task in page]))
        found = {row.task_id: row.sentences for row in connection.execute(of_page)}
    for task in page:
        sentences = [line.strip(" .") for line in (found[task.id] or "").split("\n")[1:]]
        (corpus.chinese_samples if task.seq % 10 == 0 else corpus.samples).append(sentences)


def _task(seq: int, now: datetime) -> Task:
    new = NewTask(
        id=str(ULID()), filename=f"recording-{seq}.mp3", options=TaskOptions(model="base", language="en"),
        priority=Priority.NORMAL, requested_device="auto", size_bytes=1_000_000, sha256="0" * 64, max_attempts=4,
        audio_seconds=600.0, owner=SMALL_OWNER if seq % SMALL_EVERY == 0 else LARGE_OWNER,
    )  # fmt: skip
    status = TaskStatus.FAILED if seq % 50 == 0 else TaskStatus.COMPLETED
    return mapping.new_task(new, seq, now).with_(status=status, progress=1.0, finished_at=now)


def _text_row(task: Task, words: list[str], sentences: list[str]) -> dict[str, Any]:
    spoken = [Sentence(place, 4.0 * place, f" {text}.") for place, text in enumerate(sentences)]
    return {
        "task_id": task.id,
        "folded_text": f" {' '.join(words)} \n{spaced([task.filename])}",
        "index_form": IndexForm.WORDS,
        "sentences": search_index.pack(spoken),
    }


Query = Callable[[random.Random], TaskFilter]


def kinds(corpus: Corpus) -> Iterator[tuple[str, Query]]:
    english, chinese = corpus.english.words, corpus.chinese.words

    def of(query: Callable[[random.Random], str], owner: str | None = None) -> Query:
        return lambda chance: TaskFilter(query=query(chance), owner=owner)

    def part(samples: list[list[str]], length: int, joint: str) -> Callable[[random.Random], str]:
        def cut(chance: random.Random) -> str:
            sentence = chance.choice(chance.choice(samples))
            words = sentence.split(" ") if joint == " " else list(sentence)
            begin = chance.randrange(len(words) - length + 1)
            return joint.join(words[begin : begin + length])

        return cut

    two, three, five = (part(corpus.samples, length, " ") for length in (2, 3, 5))
    yield "a word in every text", of(lambda chance: f"{english[chance.randrange(5)]} ")
    yield "a frequent word (in a tenth of the texts)", of(lambda chance: f"{english[chance.randrange(1200, 1300)]} ")
    yield "a rare word", of(lambda chance: f"{english[chance.randrange(40_000, 60_000)]} ")
    yield "a word that is nowhere", of(lambda chance: f"xy{chance.randrange(10**9)}q ")
    yield (
        "two words in any order",
        of(lambda chance: f"{english[chance.randrange(200)]} {english[chance.randrange(3000)]} "),
    )
    yield (
        "a word and the beginning of another",
        of(lambda chance: f"{english[chance.randrange(200)]} {english[chance.randrange(9000)][:3]}"),
    )
    yield "one letter, while typing", of(lambda chance: english[chance.randrange(60)][:1])
    yield "two letters, while typing", of(lambda chance: english[chance.randrange(60)][:2])
    yield "three letters, while typing", of(lambda chance: english[chance.randrange(200, 9000)][:3])
    yield "a phrase of two words from a text", of(lambda chance: f'"{two(chance)}"')
    yield "the most frequent phrase", of(lambda chance: f'"{english[0]} {english[0]}"')
    yield "a phrase of three words from a text", of(lambda chance: f'"{three(chance)}"')
    yield "a phrase of three frequent words", of(lambda chance: f'"{english[0]} {english[1]} {english[2]}"')
    yield "a phrase of five words from a text", of(lambda chance: f'"{five(chance)}"')
    yield "one Chinese character", of(lambda chance: chinese[chance.randrange(300)])
    yield "two Chinese characters from a text", of(part(corpus.chinese_samples, 2, ""))
    yield "four Chinese characters from a text", of(part(corpus.chinese_samples, 4, ""))
    yield (
        "a word in every text, by an owner of all but a few",
        of(lambda chance: f"{english[chance.randrange(5)]} ", LARGE_OWNER),
    )
    yield (
        "a word in every text, by an owner of a few",
        of(lambda chance: f"{english[chance.randrange(5)]} ", SMALL_OWNER),
    )


@dataclass
class Timings:
    """Of one kind of query, in milliseconds."""

    elapsed: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    found: int = 0  # by the last one


def measure(store: TaskStore, corpus: Corpus, times: int) -> dict[str, Timings]:
    chance = random.Random(14)
    listed = list(kinds(corpus))
    timings = {name: Timings() for name, _ in listed}
    for turn in range(times + 1):
        for name, query in listed:
            wanted, timing = query(chance), timings[name]
            began, used = time.perf_counter(), time.process_time()
            timing.found = ask(store, wanted)
            if turn:  # the first one reads from the disk
                timing.elapsed.append(1000 * (time.perf_counter() - began))
                timing.processor.append(1000 * (time.process_time() - used))
    return timings


def ask(store: TaskStore, wanted: TaskFilter) -> int:
    """As the queue does for GET /api/tasks. Returns how many tasks there are in all states."""
    with store.reading() as rows:
        page = rows.page(wanted)
        counts = rows.counts_of(wanted)
        rows.hits(page.tasks, wanted.query or "")
    return sum(counts.values())


def measure_filling(count: int) -> tuple[float, float]:
    """Texts into an empty index, as after an update: milliseconds for each, and of the longest transaction."""
    with tempfile.TemporaryDirectory() as folder, closing(TaskStore(Path(folder))) as store:
        store.open()
        fill(store, empty_corpus(), count, is_indexed=False)
        filler, took, has_more = SearchFiller(store.database, TaskFiles(Path(folder))), [0.0], True
        while has_more:
            began = time.perf_counter()
            has_more = filler.fill()
            took.append(1000 * (time.perf_counter() - began))
    return sum(took) / count, max(took)


def percentiles(values: list[float]) -> str:
    return " | ".join(f"{np.percentile(values, share):.1f}" for share in (50, 99))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=100, help="of each kind of query")
    parser.add_argument("--folder", type=Path, help="where the data stays, or is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        with closing(TaskStore(folder)) as store:
            store.open()
            corpus = empty_corpus()
            fill(store, corpus, options.texts)
            take_samples(store, corpus)
            report(store, corpus, folder, options.times)


def report(store: TaskStore, corpus: Corpus, folder: Path, times: int) -> None:
    with store.reading() as rows:
        count = sum(rows.counts().values())
    size = (folder / "tasks.db").stat().st_size / 1e6
    print(f"{describe_machine()}\n{count:,} texts, {size:,.0f} MB\n")
    print("| query | found | p50, ms | p99, ms | processor p50 | p99 |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, timing in measure(store, corpus, times).items():
        print(f"| {name} | {timing.found:,} | {percentiles(timing.elapsed)} | {percentiles(timing.processor)} |")
    each, longest = measure_filling(FILLED)
    print(f"\nInto the index after an update: {each:.1f} ms a text, {longest:.0f} ms the longest transaction.")


if __name__ == "__main__":
    main()
