"""Reading a window's prompt: its keys and values, the no-speech probability, and the logits of the first token.

On a GPU it is one graph whatever the slot, with prompts padded to a bucket; the likeliest first token is chosen in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from whisper_core.engine.decoding.cuda_graphs import Launch, PassSizes
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.search import choose_likeliest
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt
from whisper_core.engine.network.layers import DecoderLayers
from whisper_core.engine.network.self_attention import SelfCache

_SLOT, _ROW, _SOT, _LAST, _MOST_TOKENS, _TOKENS = range(6)  # places in the uploaded tensor


@dataclass(frozen=True)
class Slots:
    """A slot batch's memory, for slots of `width` rows. It stays where it is."""

    width: int
    cross: CrossCache
    cache: SelfCache
    state: RowState


class PromptPass(Protocol):
    def read(self, sequence: Sequence) -> Tensor:
        """Prepare the sequence's rows for its first token, and choose that where the search is greedy.

        Returns the token's filtered logits, (width, vocabulary), valid until the next pass.
        """


@dataclass(frozen=True)
class DirectPrompt:
    """In the slot itself, with as many tokens as there are."""

    layers: DecoderLayers
    rules: TokenRules
    slots: Slots

    def read(self, sequence: Sequence) -> Tensor:
        width, cache = self.slots.width, self.slots.cache
        row, length = sequence.window.slot * width, len(sequence.prompt)
        cache.rows(row, width).clear()
        tokens = torch.tensor(sequence.prompt)
        wanted = torch.tensor([sequence.sot_index, length - 1])
        read = run_prompt(self.layers, tokens, sequence.window.cross, cache, row=row, wanted=wanted)
        at_sot, at_end = self.layers.logits(read)
        if width > 1:
            cache.rows(row, width).copy_from(cache.rows(row, 1), length)
        state = self.slots.state.rows(row, width)
        return _first_logits(at_sot, at_end, length, sequence.max_tokens, state, self.rules, sequence.search.is_greedy)


class PaddedPrompt:
    """The padding behind the prompt is read too. No token of the prompt attends to it, and its positions in the
    self-attention cache are overwritten before any token attends to them.
    """

    def __init__(
        self, layers: DecoderLayers, rules: TokenRules, slots: Slots, fresh: RowState, sizes: PassSizes, launch: Launch
    ) -> None:
        """fresh: `width` rows, in which the first token is prepared before they are copied to the slot's."""
        self._layers = layers
        self._rules = rules
        self._slots = slots
        self._fresh = fresh
        self._sizes = sizes
        self._launch = launch
        device = layers.token_embedding.device
        self._input = torch.zeros(_TOKENS + sizes.most_positions, dtype=torch.int64, device=device)

    def read(self, sequence: Sequence) -> Tensor:
        tokens, slot = sequence.prompt, sequence.window.slot
        length = self._sizes.prompt(len(tokens))
        padding = [tokens[-1]] * (length - len(tokens))
        head = (slot, slot * self._slots.width, sequence.sot_index, len(tokens) - 1, sequence.max_tokens)
        values = torch.tensor([*head, *tokens, *padding])
        if self._input.is_cuda:
            values = values.pin_memory()
        self._input[: len(values)].copy_(values, non_blocking=True)
        is_greedy = sequence.search.is_greedy
        return self._launch(("prompt", length, is_greedy), partial(self._read, length, is_greedy))

    def _read(self, length: int, is_greedy: bool) -> Tensor:
        uploaded, slots = self._input, self._slots
        row, wanted = uploaded[_ROW : _ROW + 1], uploaded[_SOT : _LAST + 1]
        rows = row + torch.arange(slots.width, device=row.device)
        slots.cache.clear_at(rows)
        cross = slots.cross.gathered(uploaded[_SLOT : _SLOT + 1])
        tokens = uploaded[_TOKENS : _TOKENS + length]
        read = run_prompt(self._layers, tokens, cross, slots.cache, row=row, wanted=wanted)
        at_sot, at_end = self._layers.logits(read)
        if slots.width > 1:
            slots.cache.spread(row, rows)
        prompt_length, most_tokens = uploaded[_LAST] + 1, uploaded[_MOST_TOKENS]
        logits = _first_logits(at_sot, at_end, prompt_length, most_tokens, self._fresh, self._rules, is_greedy)
        slots.state.write(rows, self._fresh)
        return logits


def _first_logits(
    at_sot: Tensor,
    at_end: Tensor,
    length: int | Tensor,
    most_tokens: int | Tensor,
    state: RowState,
    rules: TokenRules,
    is_greedy: bool,
) -> Tensor:
    """The first token's filtered logits in all rows, (rows, vocabulary); `state` is that of the rows from now on.

    at_sot, at_end: (vocabulary,), the logits at the start-of-transcript token and at the prompt's last one.
    length: of the prompt, as a number or (). most_tokens: that may be sampled, likewise.
    """
    no_speech_prob = at_sot.softmax(dim=-1)[rules.no_speech]
    state.reset(length, most_tokens, rules.timestamp_begin, no_speech_prob)
    logits = at_end.repeat(len(state.token), 1)
    rules.apply(logits, state)
    if is_greedy:
        choose_likeliest(logits, state, rules.timestamp_begin, rules.eot)
    return logits
