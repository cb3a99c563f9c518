"""The tables of a tokenizer as Hugging Face's libraries save it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from errors import UnusableModelError
from whisper_core.formats.json_files import number_in, read_json, read_lines, read_object_if_there


@dataclass(frozen=True)
class Tokenizer:
    """What the files tell, which may be nothing."""

    base: Mapping[int, bytes] = field(default_factory=dict)  # tokens of text
    special: Mapping[str, int] = field(default_factory=dict)


def read_tokenizer(folder: Path) -> Tokenizer:
    """From tokenizer.json, or else vocab.json and added_tokens.json, or CTranslate2's vocabulary.

    Raises UnusableModelError.
    """
    whole = read_object_if_there(folder / "tokenizer.json")
    if whole:
        model = whole.get("model")
        words = model.get("vocab") if isinstance(model, dict) else None
        added = _added_tokens(whole.get("added_tokens"))
    elif (folder / "vocabulary.json").is_file():
        words, added = _numbered(read_json(folder / "vocabulary.json")), {}
    elif (folder / "vocabulary.txt").is_file():
        words, added = _numbered(read_lines(folder / "vocabulary.txt")), {}
    else:
        words = read_object_if_there(folder / "vocab.json")
        added = _numbers(read_object_if_there(folder / "added_tokens.json"))
    if words is None:
        words = {}
    if not isinstance(words, dict):
        raise UnusableModelError.because("vocabulary", "its tokenizer has no table of tokens")
    numbers = _numbers(words)
    special = {name: number for name, number in numbers.items() if name.startswith("<|") and name.endswith("|>")}
    base = {number: _bytes_of(word) for word, number in numbers.items() if word not in special}
    return Tokenizer(base, {**_whisper_tokens(special), **_whisper_tokens(added)})


def _numbered(words: Any) -> Any:
    """A list of tokens as a table; its last rows may be there only to fill it up."""
    return {str(word): number for number, word in enumerate(words)} if isinstance(words, list) else words


def _added_tokens(entries: Any) -> dict[str, int]:
    if not isinstance(entries, list):
        return {}
    tokens = {entry["content"]: entry for entry in entries if isinstance(entry, dict) and "content" in entry}
    return {str(name): number for name, entry in tokens.items() if (number := number_in(entry, "id")) is not None}


def _whisper_tokens(tokens: dict[str, int]) -> dict[str, int]:
    """Others are additions to the text's tokens, such as an empty one."""
    return {name: number for name, number in tokens.items() if name.startswith("<|") and name.endswith("|>")}


def _numbers(entries: dict[str, Any]) -> dict[str, int]:
    return {name: number for name in entries if (number := number_in(entries, name)) is not None}


def _bytes_of(word: str) -> bytes:
    table = _bytes_by_character()
    if any(character not in table for character in word):
        return word.encode()  # not byte-level: it differs from openai-whisper's, and is refused there
    return bytes(table[character] for character in word)


@cache
def _bytes_by_character() -> dict[str, int]:
    """GPT-2's characters for bytes: printable ones stand for themselves, the others for U+0100 and up in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{chr(byte): byte for byte in printable}, **{chr(0x100 + n): byte for n, byte in enumerate(others)}}
