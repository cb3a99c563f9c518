"""The dimensions that the engine's tensors are made of, with where and how they are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from whisper.model import Whisper


@dataclass(frozen=True)
class DecoderShape:
    """layers, heads, head_size, state: of the text decoder. text_positions, audio_positions: at most."""

    layers: int
    heads: int
    head_size: int
    state: int
    text_positions: int
    audio_positions: int
    vocabulary: int
    device: torch.device
    dtype: torch.dtype


def decoder_shape(model: Whisper, dtype: torch.dtype) -> DecoderShape:
    dims = model.dims
    return DecoderShape(
        layers=dims.n_text_layer,
        heads=dims.n_text_head,
        head_size=dims.n_text_state // dims.n_text_head,
        state=dims.n_text_state,
        text_positions=dims.n_text_ctx,
        audio_positions=dims.n_audio_ctx,
        vocabulary=dims.n_vocab,
        device=model.device,
        dtype=dtype,
    )
