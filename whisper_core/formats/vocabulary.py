"""Whether a model's vocabulary is openai-whisper's, whose tokenizer this project uses.

openai-whisper tells the languages, and with them the ids of all timestamps, from the number of rows of the embedding.
Rows that only fill it up would shift every timestamp, so they are left away; everything else that differs is refused.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from errors import UnusableModelError
from whisper_core.text.languages import LANGUAGES

TIMESTAMPS = 1501  # <|0.00|> to <|30.00|>
NUMBERS_OF_LANGUAGES = (99, 100)  # large-v3 brought the hundredth
_AFTER_LANGUAGES = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>")
_OTHER_NAMES = {"<|nocaptions|>": "<|nospeech|>", "<|jv|>": "<|jw|>"}  # as some tokenizers call them
END, START, NO_TIMESTAMPS = "<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"


@dataclass(frozen=True)
class Vocabulary:
    is_multilingual: bool
    num_languages: int

    @property
    def size(self) -> int:
        """Its tokens, timestamps included: the rows of openai-whisper's embedding."""
        return len(special_tokens(self.is_multilingual, self.num_languages)) + num_base_tokens(self.is_multilingual)


def num_base_tokens(is_multilingual: bool) -> int:
    """Tokens of text, which have the lowest ids."""
    return 50_257 if is_multilingual else 50_256


@cache
def base_tokens(is_multilingual: bool) -> tuple[bytes, ...]:
    """openai-whisper's tokens of text by their ids, from its own file. Imports nothing of openai-whisper's."""
    spec = find_spec("whisper")
    folders = spec.submodule_search_locations if spec is not None else None
    name = "multilingual" if is_multilingual else "gpt2"
    lines = (Path(next(iter(folders or [""]))) / "assets" / f"{name}.tiktoken").read_bytes().splitlines()
    ranks = [line.split() for line in lines]
    tokens = {int(rank): base64.b64decode(token) for token, rank in ranks}
    return tuple(tokens[rank] for rank in range(len(tokens)))


@cache
def special_tokens(is_multilingual: bool, num_languages: int) -> Mapping[str, int]:
    """openai-whisper's other tokens, with their ids."""
    languages = [f"<|{code}|>" for code in tuple(LANGUAGES)[:num_languages]]
    names = [END, START, *languages, *_AFTER_LANGUAGES, NO_TIMESTAMPS]
    names += [f"<|{0.02 * number:.2f}|>" for number in range(TIMESTAMPS)]
    first = num_base_tokens(is_multilingual)
    return {name: first + number for number, name in enumerate(names)}


def vocabulary_of(rows: int, found: Mapping[str, int]) -> Vocabulary:
    """The vocabulary of a model whose embedding has so many rows.

    found: ids of special tokens, as far as the files tell them; none: the number of rows must be one of
    openai-whisper's. Raises UnusableModelError when a token has another id than openai-whisper's.
    """
    found = {_OTHER_NAMES.get(name, name): number for name, number in found.items()}
    vocabulary = _by_tokens(found) or _by_rows(rows)
    known = special_tokens(vocabulary.is_multilingual, vocabulary.num_languages)
    base = num_base_tokens(vocabulary.is_multilingual)
    for name, number in sorted(found.items(), key=lambda item: item[1]):
        if known.get(name, number if number < base else None) != number:
            told = f"openai-whisper's is {known[name]}" if name in known else "openai-whisper has no such token"
            raise UnusableModelError.because("vocabulary", f"its token {name[:40]} is {number}, and {told}")
    if rows < vocabulary.size:
        raise UnusableModelError.because(
            "vocabulary", f"its embedding has {rows} rows for the {vocabulary.size} tokens it names"
        )
    return vocabulary


def check_base_tokens(tokens: Mapping[int, bytes] | Sequence[bytes], is_multilingual: bool) -> None:
    """Raises UnusableModelError unless the model's tokens of text are openai-whisper's."""
    known = base_tokens(is_multilingual)
    get = tokens.get if isinstance(tokens, Mapping) else dict(enumerate(tokens)).get
    for number, token in enumerate(known):
        if token and get(number) != token:
            other = get(number)
            what = "is missing" if other is None else f"is {other[:20]!r}"
            raise UnusableModelError.because(
                "vocabulary", f"its tokenizer is not openai-whisper's: token {number} {what} instead of {token[:20]!r}"
            )


def _by_tokens(found: Mapping[str, int]) -> Vocabulary | None:
    """None when the tokens that are told do not say it."""
    is_multilingual = None
    if END in found or START in found:
        end = found[END] if END in found else found[START] - 1
        is_multilingual = {50_257: True, 50_256: False}.get(end)
        if is_multilingual is None:
            raise UnusableModelError.because(
                "vocabulary",
                f"its vocabulary has {end} tokens of text, and openai-whisper's 50257 (or 50256 in English models)",
            )
    languages = sum(name[2:-2] in LANGUAGES for name in found)
    if NO_TIMESTAMPS in found and is_multilingual is not None:
        languages = found[NO_TIMESTAMPS] - num_base_tokens(is_multilingual) - 2 - len(_AFTER_LANGUAGES)
    if not languages:
        return None
    if is_multilingual is None:
        is_multilingual = found.get("<|en|>", 50_259) == 50_259
    if languages not in NUMBERS_OF_LANGUAGES:
        raise UnusableModelError.because(
            "vocabulary", f"its vocabulary has {languages} languages, and openai-whisper's 99 or 100"
        )
    return Vocabulary(is_multilingual, languages)


def _by_rows(rows: int) -> Vocabulary:
    for vocabulary in (Vocabulary(False, 99), Vocabulary(True, 99), Vocabulary(True, 100)):
        if rows == vocabulary.size:
            return vocabulary
    raise UnusableModelError.because(
        "vocabulary",
        f"its vocabulary has {rows} tokens, openai-whisper's 51864, 51865 or 51866, and no file says which are which",
    )
