"""The words' times of one window, by openai-whisper's own timing.py on the engine's decoder.

Upstream encodes the window a second time for it, without fused attention. Here the pass reads the keys and values that
the window has already, so a weight may differ in its last bits, and a word's time by one frame of 20 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from whisper.timing import add_word_timestamps, dtw_cpu

from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt
from whisper_core.engine.network.layers import DecoderLayers
from whisper_core.model_requests import Align, Tokenizer
from whisper_core.reference.model import aligned_segment
from whisper_core.text.transcript import Segment

_Hook = Callable[[Any, Any, Any], None]


def align(
    request: Align, layers: DecoderLayers, cross: CrossCache, heads: Tensor, tokenizer: Tokenizer
) -> tuple[Segment, ...]:
    """The request's segments with their words. heads: sparse (layers, heads), those that follow the sound."""
    segments = [segment.to_dict() for segment in request.segments]
    threads = torch.get_num_threads()
    try:
        add_word_timestamps(
            segments=segments,
            model=_TimingModel(layers, cross, heads),
            tokenizer=tokenizer,
            mel=torch.empty(0),  # the model below has heard it already
            num_frames=request.num_frames,
            last_speech_timestamp=request.last_speech_timestamp,
        )
    finally:
        torch.set_num_threads(threads)  # numba, in there, shares OpenMP with torch and sets its own number
    return tuple(aligned_segment(segment) for segment in segments)


def compile_alignment() -> None:
    """Upstream's alignment is compiled by numba, which takes seconds: here instead of in the first window. Any thread;
    does nothing when it is compiled already."""
    dtw_cpu.compile("(float64[:, ::1],)")


class _TimingModel:
    """As much of upstream's Whisper as its timing.py touches: a call with tokens, and hooks on the cross-attentions,
    which are told of the scores before the softmax."""

    def __init__(self, layers: DecoderLayers, cross: CrossCache, heads: Tensor) -> None:
        self._layers = layers
        self._cross = cross
        self._attentions = [_HookedAttention() for _ in layers.blocks]
        self.alignment_heads = heads
        self.device = layers.token_embedding.device
        self.dims = SimpleNamespace(n_text_layer=len(layers.blocks))
        self.decoder = SimpleNamespace(blocks=[SimpleNamespace(cross_attn=attention) for attention in self._attentions])

    def __call__(self, mel: Tensor, tokens: Tensor) -> Tensor:
        """tokens: (1, length). Gives their logits, (1, length, vocabulary)."""
        x = run_prompt(self._layers, tokens[0], self._cross, on_cross_query=self._tell_scores)
        return self._layers.logits(x)[None]

    def _tell_scores(self, layer: int, query: Tensor) -> None:
        self._attentions[layer].tell(self._cross.scores(layer, query).float())


@dataclass
class _HookedAttention:
    _hooks: list[_Hook] = field(default_factory=list)

    def register_forward_hook(self, hook: _Hook) -> SimpleNamespace:
        self._hooks.append(hook)
        return SimpleNamespace(remove=lambda: self._hooks.remove(hook))

    def tell(self, scores: Tensor) -> None:
        for hook in self._hooks:
            hook(None, None, (None, scores))
