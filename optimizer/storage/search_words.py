"""Which words a text has for the search, and what a query asks for. Pure functions.

Scripts that put no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) have no words that could be told
apart without a dictionary, and Korean ones carry endings. There every character is a word here, and what is written
together in a query must stand together in the text. So a search for one or two characters finds them anywhere.

Words are compared as `mapping.folded` has them: whatever their case, their width and the encoding of their accents.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from optimizer.storage.mapping import folded

MAX_WORD = 64  # characters; what is longer is no word, and is compared so far
# Thai and Lao, Burmese, Hangul, Khmer, Tai and Lanna, kana, Chinese characters and what stands for them, Yi.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u3005-\u3007\u3040-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua9e0-\ua9ff\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_SYMBOLS = "\u2600-\u27bf\U0001f300-\U0001faff"  # pictures that people put into names
_UNSPACED = re.compile(f"[{UNSPACED}{_SYMBOLS}]")
_QUOTES = str.maketrans("“”„‟", '""""')
_PART = re.compile(r'"([^"]*)("?)|([^\s"]+)')
_PAIR, _OWNER = "\ue001", "\ue000"  # for private use, so no word has them


@dataclass(frozen=True)
class Phrase:
    """Words that must stand beside each other; often a single one."""

    words: tuple[str, ...]
    is_prefix: bool  # of its last word the beginning is enough: it is still being typed
    written: str  # folded


def spaced(texts: Iterable[str]) -> str:
    """The words of each text, a line each, with a space around every word. What a phrase looks like in it:
    ` its words ` in between such spaces."""
    return "\n".join(f" {' '.join(words_of(text))} " for text in texts)


def words_of(text: str) -> list[str]:
    return [word[:MAX_WORD] for word in _pattern().findall(folded(text))]


def read_query(text: str) -> tuple[Phrase, ...]:
    """Words are found in any order and phrases in quotation marks as they stand. Nothing for a text without a word."""
    text = folded(text).translate(_QUOTES)
    phrases = []
    for part in _PART.finditer(text):
        quoted, closing, plain = part.groups()
        written = quoted if plain is None else plain
        if words := words_of(written):
            is_open = part.end() == len(text) and not closing and written.endswith(words[-1])
            phrases.append(Phrase(tuple(words), is_open, written))
    return tuple(phrases)


def is_unspaced(word: str) -> bool:
    """Whether it is of a script without spaces, or a picture."""
    return not word.isascii() and _UNSPACED.match(word) is not None


# In the index: the words of a text, each once, and every two that stand beside each other


def terms_of(words: str, owner: str) -> set[str]:
    """Of `spaced` texts of one owner's task. Words on different lines do not stand beside each other."""
    terms = {owner_term(owner)}
    for line in words.split("\n"):
        found = line.split()
        terms.update(found)
        terms.update(f"{_PAIR}{word}{_PAIR}{after}" for word, after in pairwise(found))
    return terms


def owner_term(owner: str) -> str:
    """As letters that every tokenizer keeps together."""
    return _OWNER + owner.encode("utf-8", "surrogatepass").hex()


def every_owner() -> str:
    """What FTS5 is asked for all tasks."""
    return f'"{_OWNER}"*'


@dataclass(frozen=True)
class Term:
    """What an index is asked for: a word, or two that stand beside each other."""

    text: str
    is_prefix: bool = False


def match_terms(phrases: Iterable[Phrase], owner: str | None) -> list[Term]:
    """What a task has that has the phrases and is the owner's, each once."""
    terms = [] if owner is None else [Term(owner_term(owner))]
    for phrase in phrases:
        found = list(_terms_of_phrase(phrase.words))
        terms += map(Term, found[:-1])
        terms.append(Term(found[-1], phrase.is_prefix))
    return list(dict.fromkeys(terms))


def match_expression(phrases: Iterable[Phrase], owner: str | None) -> str:
    """What FTS5 is asked. Nothing of what somebody wrote means anything in it: words consist of letters and digits."""
    return " AND ".join(f'"{term.text}"{"*" if term.is_prefix else ""}' for term in match_terms(phrases, owner))


def _terms_of_phrase(words: tuple[str, ...]) -> Iterator[str]:
    if len(words) == 1:
        yield words[0]
    for word, after in pairwise(words):
        yield f"{_PAIR}{word}{_PAIR}{after}"


def spaced_phrase(phrase: Phrase) -> str:
    """What a `spaced` text has that has the phrase."""
    return f" {' '.join(phrase.words)}{'' if phrase.is_prefix else ' '}"


# In a text as it is written


class Finder:
    """Where phrases stand in a folded text."""

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        """phrases: at least one."""
        self._phrases = tuple(dict.fromkeys(phrases))
        self._pattern = re.compile("|".join(f"({_as_written(phrase.words)})" for phrase in self._phrases))

    @property
    def num_phrases(self) -> int:
        return len(self._phrases)

    def find(self, text: str) -> Iterator[tuple[int, int, Phrase]]:
        """Begin and end of each, from left to right; they do not overlap."""
        for match in self._pattern.finditer(text):
            phrase = self._phrases[(match.lastindex or 1) - 1]
            first, last = phrase.words[0], phrase.words[-1]
            is_open = phrase.is_prefix or len(last) == MAX_WORD
            begins = is_unspaced(first) or not _is_in_word(text, match.start() - 1)
            ends = is_open or not (_is_mark(text, match.end()) or _continues(last, text, match.end()))
            if begins and ends:
                yield match.start(), match.end(), phrase


def _as_written(words: tuple[str, ...]) -> str:
    """Words need something in between, unless one of them is of an unspaced script."""
    parts = [re.escape(words[0])]
    for before, word in pairwise(words):
        parts.append(r"[\W_]*?" if is_unspaced(before) or is_unspaced(word) else r"[\W_]+?")
        parts.append(re.escape(word))
    return "".join(parts)


def _is_in_word(text: str, at: int) -> bool:
    """Whether the character belongs to a word that spaces end."""
    while at > 0 and _is_mark(text, at):
        at -= 1
    return at >= 0 and text[at].isalnum() and not is_unspaced(text[at])


def _continues(word: str, text: str, at: int) -> bool:
    return at < len(text) and not is_unspaced(word) and text[at].isalnum() and not is_unspaced(text[at])


def _is_mark(text: str, at: int) -> bool:
    return 0 <= at < len(text) and not text[at].isascii() and unicodedata.category(text[at])[0] == "M"


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    """A character of an unspaced script, a picture, or a word of letters and digits, each with the marks upon it."""
    marks = _marks()
    return re.compile(rf"[{UNSPACED}][{marks}]*|[{_SYMBOLS}]|(?:[^\W_{UNSPACED}][{marks}]*)+")


@lru_cache(maxsize=1)
def _marks() -> str:
    """Combining characters, which `\\w` leaves out, as ranges for a class. Made at the first use: it takes 30 ms."""
    ranges: list[tuple[int, int]] = []
    for code in range(0x300, min(sys.maxunicode, 0x20000)):
        if unicodedata.category(chr(code))[0] != "M":
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
