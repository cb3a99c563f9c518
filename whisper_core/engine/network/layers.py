"""A Whisper model's layers as the engine computes them: query, key and value in one product, and the decoder's matrices
laid out for few rows.

LayerNorm's weights, the embeddings and their sum are in fp32 on every device, as upstream (an int8 model's embeddings
are in the file's fp16); the matrices are in the model's dtype, or packed. Source: openai-whisper model.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.model import AudioEncoder, MultiHeadAttention, ResidualAttentionBlock, TextDecoder
from whisper.model import Linear as UpstreamLinear

from whisper_core.engine.network.linear import Linear, MakeLinear, MakeMatrix, Matrix

LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class LayerNorm:
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Computed in fp32; the result has x's dtype."""
        return F.layer_norm(x.float(), self.weight.shape, self.weight, self.bias, LAYER_NORM_EPSILON).type(x.dtype)


@dataclass(frozen=True)
class EncoderBlock:
    """One layer. query_key_value maps (positions, state) to (positions, 3 * state), in this order."""

    attention_norm: LayerNorm
    query_key_value: Matrix
    attention_out: Matrix
    mlp_norm: LayerNorm
    mlp_in: Matrix
    mlp_out: Matrix


@dataclass(frozen=True)
class DecoderBlock:
    """One layer. query_key_value maps (rows, state) to (rows, 3 * state), in this order."""

    attention_norm: LayerNorm
    query_key_value: Linear
    attention_out: Linear
    cross_norm: LayerNorm
    cross_query: Linear
    cross_out: Linear
    mlp_norm: LayerNorm
    mlp_in: Linear
    mlp_out: Linear

    def mlp(self, x: Tensor) -> Tensor:
        return self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x))))


@dataclass(frozen=True)
class DecoderLayers:
    """The whole decoder except the projections of the cross-attention's keys and values, which the encoder computes."""

    token_embedding: Tensor
    positional_embedding: Tensor
    blocks: tuple[DecoderBlock, ...]
    norm: LayerNorm
    vocabulary: Linear  # maps (rows, state) to (rows, n_vocab)
    num_heads: int
    dtype: torch.dtype

    @property
    def num_tokens(self) -> int:
        """In the vocabulary."""
        return len(self.token_embedding)

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """(rows, state), in the model's dtype. tokens, positions: (rows,) int64."""
        return (self.token_embedding[tokens] + self.positional_embedding[positions]).to(self.dtype)

    def logits(self, x: Tensor) -> Tensor:
        """(rows, n_vocab), in fp32. x: (rows, state), not normalised yet."""
        return self.vocabulary(self.norm(x)).float()


def encoder_blocks(encoder: AudioEncoder, make: MakeMatrix) -> tuple[EncoderBlock, ...]:
    return tuple(
        EncoderBlock(
            attention_norm=layer_norm(block.attn_ln),
            query_key_value=make(*_fused(block.attn)),
            attention_out=make(*_parts(block.attn.out)),
            mlp_norm=layer_norm(block.mlp_ln),
            mlp_in=make(*_parts(block.mlp[0])),
            mlp_out=make(*_parts(block.mlp[2])),
        )
        for block in encoder.blocks
    )


def decoder_layers(decoder: TextDecoder, dtype: torch.dtype, make: MakeLinear) -> DecoderLayers:
    """decoder: upstream's, with its matrices in `dtype`."""
    embedding = decoder.token_embedding.weight.detach()
    return DecoderLayers(
        token_embedding=embedding.clone() if embedding.dtype is torch.float16 else embedding,  # not pages of a file
        positional_embedding=decoder.positional_embedding.detach(),
        blocks=tuple(_decoder_block(block, make) for block in decoder.blocks),
        norm=layer_norm(decoder.ln),
        vocabulary=make(embedding.to(dtype), None),
        num_heads=decoder.blocks[0].attn.n_head,
        dtype=dtype,
    )


def _decoder_block(block: ResidualAttentionBlock, make: MakeLinear) -> DecoderBlock:
    return DecoderBlock(
        attention_norm=layer_norm(block.attn_ln),
        query_key_value=make(*_fused(block.attn)),
        attention_out=make(*_parts(block.attn.out)),
        cross_norm=layer_norm(block.cross_attn_ln),
        cross_query=make(*_parts(block.cross_attn.query)),
        cross_out=make(*_parts(block.cross_attn.out)),
        mlp_norm=layer_norm(block.mlp_ln),
        mlp_in=make(*_parts(block.mlp[0])),
        mlp_out=make(*_parts(block.mlp[2])),
    )


def _fused(attention: MultiHeadAttention) -> tuple[Tensor, Tensor]:
    """Weight and bias of one product for query, key and value; upstream's keys have no bias."""
    query, key, value = attention.query, attention.key, attention.value
    bias = torch.cat([query.bias, torch.zeros_like(query.bias), value.bias]).detach()
    return torch.cat([query.weight, key.weight, value.weight]).detach(), bias


def _parts(module: UpstreamLinear) -> tuple[Tensor, Tensor]:
    """Weight and bias."""
    return module.weight.detach(), module.bias.detach()


def layer_norm(module: torch.nn.LayerNorm) -> LayerNorm:
    return LayerNorm(module.weight.detach(), module.bias.detach())
