"""Folders as `transformers` saves a Whisper, written by the safetensors library, with the toy's random weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.whisper_core.toy_model import TOY_HEADS, TOY_LAYERS, TOY_STATE, toy_model

MULTILINGUAL_TOKENS = {"eos_token_id": 50257, "decoder_start_token_id": 50258, "no_timestamps_token_id": 50363}
_NAMES = {
    "token_embedding.weight": "embed_tokens.weight",
    "positional_embedding": "embed_positions.weight",
    "cross_attn_ln": "encoder_attn_layer_norm",
    "cross_attn": "encoder_attn",
    "attn_ln": "self_attn_layer_norm",
    "attn": "self_attn",
    "mlp_ln": "final_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "out": "out_proj",
    "ln_post": "layer_norm",
    "ln": "layer_norm",
    "blocks": "layers",
}


def hugging_face_name(name: str) -> str:
    for ours, theirs in _NAMES.items():
        name = re.sub(rf"(?<![^.]){re.escape(ours)}(?![^.])", theirs, name)
    return f"model.{name}"


def toy_tensors(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Of the toy in fp16, by the names in such a file. changes: by openai-whisper's names with __ for a dot."""
    state: dict[str, torch.Tensor | None] = {name: tensor.half() for name, tensor in toy_model().state_dict().items()}
    state.update({name.replace("__", "."): tensor for name, tensor in changes.items()})
    return {hugging_face_name(name): tensor.contiguous() for name, tensor in state.items() if tensor is not None}


def write_folder(
    folder: Path,
    tensors: dict[str, torch.Tensor] | None = None,
    *,
    configuration: Mapping[str, Any] | None = None,
    generation: Mapping[str, Any] | None = None,
    files: Mapping[str, Any] | None = None,
) -> Path:
    """configuration, generation: entries beside the usual ones. files: further JSON files."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(toy_tensors() if tensors is None else tensors, folder / "model.safetensors")
    usual = {
        "model_type": "whisper",
        "d_model": TOY_STATE,
        "encoder_attention_heads": TOY_HEADS,
        "decoder_attention_heads": TOY_HEADS,
        "encoder_layers": TOY_LAYERS,
        "num_mel_bins": 80,
    }
    written = {"config.json": {**usual, **(configuration or {})}, **(files or {})}
    if generation is not None:
        written["generation_config.json"] = dict(generation)
    for name, body in written.items():
        (folder / name).write_text(json.dumps(body))
    return folder
