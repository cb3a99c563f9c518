"""Word timestamps of one window, by openai-whisper's own timing.py on the engine's decoder.

Upstream encodes the window a second time for it, without fused attention. Here the pass reads the keys and values that
the window already has, so a weight may differ in its last bits, and a word's time by one frame of 20 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from whisper.timing import dtw_cpu

from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt
from whisper_core.engine.network.layers import DecoderLayers
from whisper_core.model_requests import Align, Tokenizer
from whisper_core.text.transcript import Segment
from whisper_core.upstream import align_words

_Hook = Callable[[Any, Any, Any], None]


def align(
    request: Align, layers: DecoderLayers, cross: CrossCache, heads: Tensor, tokenizer: Tokenizer
) -> tuple[Segment, ...]:
    """The request's segments with their words.

    cross: of the request's window. heads: sparse (layers, heads), the attention heads that follow the sound.
    """
    unused_mel = torch.empty(0)  # the model reads `cross` instead
    return align_words(request, _TimingModel(layers, cross, heads), tokenizer, unused_mel)


def compile_alignment() -> None:
    """Have numba compile upstream's alignment now, which takes seconds, instead of in the first window.

    Any thread. Does nothing when it is compiled already.
    """
    dtw_cpu.compile("(float64[:, ::1],)")


class _TimingModel:
    """The part of upstream's Whisper that timing.py uses: it calls the model with tokens, and its hooks on the
    cross-attentions receive the scores before the softmax."""

    def __init__(self, layers: DecoderLayers, cross: CrossCache, heads: Tensor) -> None:
        self._layers = layers
        self._cross = cross
        self._attentions = [_HookedAttention() for _ in layers.blocks]
        self.alignment_heads = heads
        self.device = layers.token_embedding.device
        self.dims = SimpleNamespace(n_text_layer=len(layers.blocks))
        self.decoder = SimpleNamespace(blocks=[SimpleNamespace(cross_attn=attention) for attention in self._attentions])

    def __call__(self, mel: Tensor, tokens: Tensor) -> Tensor:
        """The tokens' logits, (1, length, vocabulary). tokens: (1, length). mel: not used."""
        x = run_prompt(self._layers, tokens, self._cross, on_cross_query=self._report_scores)
        return self._layers.logits(x[0])[None]

    def _report_scores(self, layer: int, query: Tensor) -> None:
        self._attentions[layer].call_hooks(self._cross.scores(layer, query).float())


@dataclass
class _HookedAttention:
    _hooks: list[_Hook] = field(default_factory=list)

    def register_forward_hook(self, hook: _Hook) -> SimpleNamespace:
        self._hooks.append(hook)
        return SimpleNamespace(remove=lambda: self._hooks.remove(hook))

    def call_hooks(self, scores: Tensor) -> None:
        for hook in self._hooks:
            hook(None, None, (None, scores))
