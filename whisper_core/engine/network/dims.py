"""The dimensions of the text decoder's tensors, with the device and the dtype that they are kept in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from whisper.model import Whisper


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

    @classmethod
    def of(cls, model: Whisper, dtype: torch.dtype) -> DecoderDims:
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
        )
