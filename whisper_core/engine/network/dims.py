"""The dimensions of the text decoder's tensors, with the device and the form that they are kept in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from whisper.model import Whisper

Rows = slice | Tensor
"""Which rows of a cache or a state: the first ones (a slice, a view), or those with these numbers, (n,) int64."""


@dataclass(frozen=True)
class CrossForm:
    """How the cross-attention's keys and values of each head are kept: (positions, head size), or transposed."""

    are_keys_transposed: bool
    are_values_transposed: bool
    is_fused: bool = False  # whether torch's fused kernel computes the attention, which needs neither transposed


@dataclass(frozen=True)
class DecoderDims:
    layers: int
    heads: int
    head_size: int
    state: int  # heads * head_size
    text_positions: int  # the longest text context: prompt and sampled tokens
    audio_positions: int  # the encoder's outputs for one window, 20 ms each
    device: torch.device
    dtype: torch.dtype  # of the matrices and caches
    cross: CrossForm

    @classmethod
    def of(cls, model: Whisper, dtype: torch.dtype, cross: CrossForm) -> DecoderDims:
        dims = model.dims
        return cls(
            layers=dims.n_text_layer,
            heads=dims.n_text_head,
            head_size=dims.n_text_state // dims.n_text_head,
            state=dims.n_text_state,
            text_positions=dims.n_text_ctx,
            audio_positions=dims.n_audio_ctx,
            device=model.device,
            dtype=dtype,
            cross=cross,
        )
