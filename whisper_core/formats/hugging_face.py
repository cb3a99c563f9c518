"""A folder as Hugging Face's `transformers` saves a Whisper: `config.json`, `model.safetensors` and a tokenizer.

Older ones have `pytorch_model.bin`, a file of torch.save. Read are the headers of the weights, the configuration and
the tokenizer's tables.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from errors import UnusableModelError
from whisper_core.formats.brought_model import BroughtModel, StoredTensor, alignment_heads_of
from whisper_core.formats.dimensions import EMBEDDING_TENSOR, ModelDimensions, dimensions_of
from whisper_core.formats.json_files import number_in, read_object, read_object_if_there
from whisper_core.formats.openai_checkpoint import weights_in
from whisper_core.formats.safetensors_files import read_header
from whisper_core.formats.tokenizers import read_tokenizer
from whisper_core.formats.torch_files import read_torch_file
from whisper_core.formats.vocabulary import check_base_tokens, vocabulary_of

CONFIGURATION, WEIGHTS, PICKLED = "config.json", "model.safetensors", "pytorch_model.bin"
INDEX, PICKLED_INDEX = f"{WEIGHTS}.index.json", f"{PICKLED}.index.json"
ADAPTER = "adapter_config.json"
_PROJECTION = "proj_out.weight"

_RENAMED = {
    "embed_tokens.weight": "token_embedding.weight",
    "embed_positions.weight": "positional_embedding",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "self_attn_layer_norm": "attn_ln",
    "final_layer_norm": "mlp_ln",
    "encoder_attn": "cross_attn",
    "self_attn": "attn",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "out",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
}
_PART = re.compile(r"(?<![^.])(" + "|".join(map(re.escape, _RENAMED)) + r")(?![^.])")
# What the configuration says beside what the tensors' shapes say.
_TOLD = {
    "num_mel_bins": "n_mels",
    "d_model": "n_audio_state",
    "encoder_layers": "n_audio_layer",
    "decoder_layers": "n_text_layer",
    "vocab_size": "n_vocab",
    "max_source_positions": "n_audio_ctx",
    "max_target_positions": "n_text_ctx",
}


def is_hugging_face(names: set[str]) -> bool:
    """Whether a folder with files of these names is meant to be such a model."""
    return not names.isdisjoint((WEIGHTS, INDEX, PICKLED, PICKLED_INDEX, ADAPTER))


def read_hugging_face(folder: Path) -> BroughtModel:
    """Raises UnusableModelError."""
    stored = _stored_tensors(folder)
    configuration = read_object(folder / CONFIGURATION)
    _check_configuration(configuration)
    named = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    projection = named.pop(_PROJECTION, None)
    tensors = {_openai_name(name): tensor for name, tensor in named.items()}
    dims = dimensions_of(
        {name: tensor.shape for name, tensor in tensors.items()},
        audio_heads=number_in(configuration, "encoder_attention_heads"),
        text_heads=number_in(configuration, "decoder_attention_heads"),
    )
    _compare(configuration, dims)
    if projection is not None and projection.shape != tensors[EMBEDDING_TENSOR].shape:
        raise UnusableModelError.because(
            "network", f"{_PROJECTION} is {projection.shape}, not like the embedding of its tokens"
        )
    generation = read_object_if_there(folder / "generation_config.json")
    dims = replace(dims, n_vocab=_vocabulary_size(folder, dims.n_vocab, configuration, generation))
    return BroughtModel(
        dimensions=dims,
        tensors=tensors,
        projection=projection,
        alignment_heads=alignment_heads_of(generation.get("alignment_heads"), dims),
        size_bytes=sum(tensor.size_bytes for tensor in tensors.values()),
    )


def _stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    for weights, index in ((WEIGHTS, INDEX), (PICKLED, PICKLED_INDEX)):
        if (folder / weights).is_file():
            return _read_weights(folder / weights)
        if (folder / index).is_file():
            return _read_shards(folder, index, Path(weights).suffix)
    raise UnusableModelError.because(
        "layout", f"it is an adapter (LoRA): merge it into its model first, and save that as {WEIGHTS}"
    )


def _read_shards(folder: Path, index: str, suffix: str) -> dict[str, StoredTensor]:
    shards = read_object(folder / index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UnusableModelError.because("damaged", f"{index} names no files")
    stored: dict[str, StoredTensor] = {}
    for name in sorted({str(shard) for shard in shards.values()}):
        if Path(name).name != name or not name.endswith(suffix):
            raise UnusableModelError.because(
                "layout", f"{index} names {name[:80]!r}, which is no {suffix[1:]} file in the folder"
            )
        if not (folder / name).is_file():
            raise UnusableModelError.because("damaged", f"the file {name[:80]} is missing")
        stored.update(_read_weights(folder / name))
    return stored


def _read_weights(path: Path) -> dict[str, StoredTensor]:
    return read_header(path) if path.suffix == ".safetensors" else weights_in(read_torch_file(path), path)


def _check_configuration(configuration: dict[str, Any]) -> None:
    kind = configuration.get("model_type", "whisper")
    if kind != "whisper":
        raise UnusableModelError.because(
            "network", f"it is a model of the kind {str(kind)[:40]!r}, and only Whisper is computed"
        )
    if configuration.get("quantization_config"):
        raise UnusableModelError.because("numbers", "its weights are quantised: only F16, BF16 and F32 are read")
    if configuration.get("activation_function", "gelu") != "gelu" or configuration.get("scale_embedding"):
        raise UnusableModelError.because(
            "network", "it computes otherwise than Whisper (activation_function, scale_embedding)"
        )


def _compare(configuration: dict[str, Any], dims: ModelDimensions) -> None:
    for name, dimension in _TOLD.items():
        told, found = number_in(configuration, name), getattr(dims, dimension)
        if told is not None and told != found:
            raise UnusableModelError.because(
                "network", f"{CONFIGURATION} says {name} = {told}, and its weights have {found}"
            )


def _openai_name(name: str) -> str:
    stack, _, rest = name.partition(".")
    if rest.startswith("layer_norm."):
        return f"{stack}.{'ln_post' if stack == 'encoder' else 'ln'}.{rest.removeprefix('layer_norm.')}"
    rest = re.sub(r"^layers\.", "blocks.", rest)
    return f"{stack}.{_PART.sub(lambda found: _RENAMED[found[0]], rest)}"


def _vocabulary_size(folder: Path, rows: int, configuration: dict[str, Any], generation: dict[str, Any]) -> int:
    """The rows of the embedding that openai-whisper's model would have: the others only fill it up."""
    tokenizer = read_tokenizer(folder)
    found = {**_told_tokens(configuration), **_told_tokens(generation), **tokenizer.special}
    vocabulary = vocabulary_of(rows, found)
    if tokenizer.base:
        check_base_tokens(tokenizer.base, vocabulary.is_multilingual)
    return vocabulary.size


def _told_tokens(told: dict[str, Any]) -> dict[str, int]:
    """Special tokens as the files tell them, by openai-whisper's names."""
    found: dict[str, int] = {}
    for table in ("lang_to_id", "task_to_id"):
        entries = told.get(table) or {}
        if not isinstance(entries, dict):
            raise UnusableModelError.because("damaged", f"{table} is no table")
        for name in entries:
            number = number_in(entries, name)
            if number is not None:
                found[name if name.startswith("<|") else f"<|{name}|>"] = number
    for name, token in (
        ("decoder_start_token_id", "<|startoftranscript|>"),
        ("no_timestamps_token_id", "<|notimestamps|>"),
        ("prev_sot_token_id", "<|startofprev|>"),
    ):
        number = number_in(told, name)
        if number is not None:
            found[token] = number
    ends = told.get("eos_token_id")
    if isinstance(ends, int):
        found["<|endoftext|>"] = ends
    return found
