"""Reading a window's prompt on a GPU: padded to a bucket and launched as one graph, whatever its slot."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from whisper_core.engine.decoding.cuda_graphs import Launch, PassSizes
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt
from whisper_core.engine.network.layers import DecoderLayers
from whisper_core.engine.network.self_attention import SelfCache

_SLOT, _ROW, _SOT, _LAST, _TOKENS = range(5)  # places in the uploaded tensor


class PaddedPrompt:
    """The padding behind the prompt is read too. No token of the prompt attends to it, and its positions in the
    self-attention cache are overwritten before any token attends to them.

    cross, cache: of the whole slot batch, whose slots have `width` rows each; they must stay where they are in memory.
    """

    def __init__(
        self, layers: DecoderLayers, cross: CrossCache, cache: SelfCache, width: int, sizes: PassSizes, launch: Launch
    ) -> None:
        self._layers = layers
        self._cross = cross
        self._cache = cache
        self._width = width
        self._sizes = sizes
        self._launch = launch
        device = layers.token_embedding.device
        self._input = torch.zeros(_TOKENS + sizes.most_positions, dtype=torch.int64, device=device)

    def logits(self, tokens: Sequence[int], slot: int, sot_index: int) -> Tensor:
        """Logits at the start-of-transcript token and at the last one, (2, vocabulary). Valid until the next pass."""
        length = self._sizes.prompt(len(tokens))
        padding = [tokens[-1]] * (length - len(tokens))
        values = torch.tensor([slot, slot * self._width, sot_index, len(tokens) - 1, *tokens, *padding])
        if self._input.is_cuda:
            values = values.pin_memory()
        self._input[: len(values)].copy_(values, non_blocking=True)
        return self._launch(("prompt", length), partial(self._read, length))

    def _read(self, length: int) -> Tensor:
        uploaded = self._input
        cross = self._cross.gathered(uploaded[_SLOT : _SLOT + 1])
        tokens = uploaded[_TOKENS : _TOKENS + length]
        row, wanted = uploaded[_ROW : _ROW + 1], uploaded[_SOT : _LAST + 1]
        return self._layers.logits(run_prompt(self._layers, tokens, cross, self._cache, row=row, wanted=wanted))
