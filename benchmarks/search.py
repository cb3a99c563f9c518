"""How long a search of the list takes in a large archive: `python -m benchmarks.search [--texts 100000]`.

Fills a data folder with completed transcripts of ten minutes each (1,500 words, or 2,400 Chinese characters in every
tenth), whose words are as frequent as those of a language are (Zipf's law over 60,000 words), has them brought into the
index as after an update, and asks for the first page of 50 with its counts and hits, in this process. Every kind of
query is asked for many times, in turn with the others, with other words each time where there are others.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, update
from ulid import ULID

from benchmarks.machine import describe_machine
from optimizer.storage import mapping, search_index
from optimizer.storage.schema import arrivals, task_texts, tasks
from optimizer.storage.search_filler import AT_ONCE, SearchFiller
from optimizer.storage.search_index import IndexForm
from optimizer.storage.search_words import spaced
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.search_hit import Sentence
from optimizer.tasks.task import NewTask, Priority, Task, TaskFilter, TaskOptions, TaskStatus

WORDS_OF_A_TEXT, CHARACTERS_OF_A_TEXT = 1_500, 2_400
WORDS_OF_A_SENTENCE, CHARACTERS_OF_A_SENTENCE = 10, 16
SMALL_OWNER, SMALL_EVERY = "small", 10_000  # one task in so many is this owner's; all others are one owner's
LARGE_OWNER = "large"
ROWS_AT_ONCE = 500
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

    def sentences(self, count: int, of: int) -> list[str]:
        picked = np.searchsorted(self._until, self._chance.random(count))
        found = [self.words[min(place, len(self.words) - 1)] for place in picked]
        return [self._joint.join(found[begin : begin + of]) for begin in range(0, count, of)]


@dataclass(frozen=True)
class Corpus:
    english: Language
    chinese: Language
    samples: list[list[str]]  # sentences of some texts
    chinese_samples: list[list[str]]


def fill(store: TaskStore, count: int) -> Corpus:
    """Texts that are not in the index yet."""
    chance = np.random.default_rng(14)
    corpus = Corpus(
        Language(make_words(60_000), chance, " "), Language(CHARACTERS, chance, ""), samples=[], chinese_samples=[]
    )
    now = datetime.now(UTC)
    for begin in range(0, count, ROWS_AT_ONCE):
        made = [_text(corpus, seq) for seq in range(begin + 1, min(begin + ROWS_AT_ONCE, count) + 1)]
        listed = [_task(seq, now) for seq in range(begin + 1, begin + len(made) + 1)]
        with store.database.writing() as connection:
            connection.execute(insert(tasks), [_row(task) for task in listed])
            connection.execute(insert(task_texts), [_text_row(*each) for each in zip(listed, made, strict=True)])
            connection.execute(update(arrivals).values(last_seq=begin + len(made)))
    return corpus


def _text(corpus: Corpus, seq: int) -> list[str]:
    is_chinese = seq % 10 == 0
    if is_chinese:
        sentences = corpus.chinese.sentences(CHARACTERS_OF_A_TEXT, CHARACTERS_OF_A_SENTENCE)
    else:
        sentences = corpus.english.sentences(WORDS_OF_A_TEXT, WORDS_OF_A_SENTENCE)
    if seq % 97 in (0, 1):
        (corpus.chinese_samples if is_chinese else corpus.samples).append(sentences)
    return sentences


def _task(seq: int, now: datetime) -> Task:
    new = NewTask(
        id=str(ULID()), filename=f"recording-{seq}.mp3", options=TaskOptions(model="base", language="en"),
        priority=Priority.NORMAL, requested_device="auto", size_bytes=1_000_000, sha256="0" * 64, max_attempts=4,
        audio_seconds=600.0, owner=SMALL_OWNER if seq % SMALL_EVERY == 0 else LARGE_OWNER,
    )  # fmt: skip
    status = TaskStatus.FAILED if seq % 50 == 0 else TaskStatus.COMPLETED
    return mapping.new_task(new, seq, now).with_(status=status, progress=1.0, finished_at=now)


def _row(task: Task) -> dict[str, Any]:
    return mapping.task_to_row(task)


def _text_row(task: Task, sentences: list[str]) -> dict[str, Any]:
    spoken = [Sentence(place, 4.0 * place, f" {text}.") for place, text in enumerate(sentences)]
    return {
        "task_id": task.id,
        "folded_text": spaced([" ".join(sentences), task.filename]),
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


def measure(store: TaskStore, corpus: Corpus, times: int) -> Iterator[tuple[str, list[float], int]]:
    """The kinds of query, the milliseconds that each took, and how many tasks the last one found."""
    chance = random.Random(14)
    listed = list(kinds(corpus))
    took: dict[str, list[float]] = {name: [] for name, _ in listed}
    found = dict.fromkeys(took, 0)
    for turn in range(times + 1):
        for name, query in listed:
            wanted = query(chance)
            begin = time.perf_counter()
            found[name] = ask(store, wanted)
            if turn:  # the first one reads from the disk
                took[name].append(1000 * (time.perf_counter() - begin))
    for name in took:
        yield name, took[name], found[name]


def ask(store: TaskStore, wanted: TaskFilter) -> int:
    """As the queue does for GET /api/tasks. Returns how many tasks there are in all states."""
    with store.reading() as rows:
        page = rows.page(wanted)
        counts = rows.counts_of(wanted)
        rows.hits(page.tasks, wanted.query or "")
    return sum(counts.values())


def percentile(values: list[float], share: float) -> float:
    return float(np.percentile(values, 100 * share))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=100, help="of each kind of query")
    parser.add_argument("--folder", type=Path, help="where the data goes, if it is to stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, closing(TaskStore(Path(folder))) as store:
        store.open()
        begin = time.perf_counter()
        corpus = fill(store, options.texts)
        print(f"texts written in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        begin = time.perf_counter()
        longest = bring_into_index(store, Path(folder))
        indexing_s = time.perf_counter() - begin
        print(describe_machine())
        size = Path(folder, "tasks.db").stat().st_size
        print(f"{options.texts} texts, {size / 1e6:.0f} MB; into the index in {indexing_s:.0f} s of work, ", end="")
        print(f"{AT_ONCE} at a time, of which the longest took {1000 * longest:.0f} ms")
        print("\n| query | found | p50, ms | p99, ms |\n| --- | ---: | ---: | ---: |")
        for name, took, found in measure(store, corpus, options.times):
            print(f"| {name} | {found:,} | {percentile(took, 0.5):.1f} | {percentile(took, 0.99):.1f} |")


def bring_into_index(store: TaskStore, folder: Path) -> float:
    """Returns the longest time that a transaction took."""
    filler, longest = SearchFiller(store.database, TaskFiles(folder)), 0.0
    while True:
        begin = time.perf_counter()
        has_more = filler.fill()
        longest = max(longest, time.perf_counter() - begin)
        if not has_more:
            return longest


if __name__ == "__main__":
    main()
