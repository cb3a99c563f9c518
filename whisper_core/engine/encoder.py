"""From windows of log-mel features to what the decoder attends to: the encoder and the cross-attention's projections.

The encoder is upstream's own module, so that on the CPU its numbers are upstream's to the last bit. Keys and values are
projected once a window, for every temperature, prompt and pass over it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from whisper.model import MultiHeadAttention, Whisper

from whisper_core.engine.cross_attention import CrossCache
from whisper_core.engine.shape import DecoderShape


class WindowEncoder:
    def __init__(self, model: Whisper, shape: DecoderShape) -> None:
        self._encoder = model.encoder
        self._attentions: list[MultiHeadAttention] = [block.cross_attn for block in model.decoder.blocks]
        self._shape = shape

    @torch.inference_mode()
    def encode(self, mels: Tensor) -> CrossCache:
        """mels: float32 (windows, n_mels, 3000). Gives the windows' keys and values, one slot each."""
        features = self._encoder(mels.to(self._shape.device, non_blocking=True).to(self._shape.dtype))
        cross = CrossCache.empty(self._shape, len(mels))
        for layer, attention in enumerate(self._attentions):
            for window, heard in enumerate(features):
                self._project(attention.key, heard, cross.keys[layer, window])
                self._project(attention.value, heard, cross.values[layer, window])
        return cross

    def _project(self, linear: torch.nn.Linear, heard: Tensor, out: Tensor) -> None:
        """heard: (positions, state). out: one window's and layer's part of the cache."""
        shape = self._shape
        if shape.device.type == "cpu":  # transposed: the product comes out as it is to lie
            product = torch.mm(linear.weight, heard.t(), out=out.view(shape.state, shape.audio_positions))
            if linear.bias is not None:
                product += linear.bias[:, None]
        else:
            out.copy_(linear(heard).view(shape.audio_positions, shape.heads, shape.head_size).transpose(0, 1))
