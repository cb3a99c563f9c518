"""One Decode request on its way through a bank: its prompt, its search, its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from whisper.utils import compression_ratio

from whisper_core.engine.active_task import RunningStrand
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.decoding.row_state import SampledRows
from whisper_core.engine.decoding.search import Search, search_for
from whisper_core.model_requests import Decode, Decoded
from whisper_core.sampling_seed import sampling_seed


@dataclass(eq=False)
class Sequence:
    """strand: whose request it is. prompt: all tokens before the first that is sampled. sot_index: of the
    start-of-transcript token in it. room: tokens that may be sampled."""

    strand: RunningStrand
    request: Decode
    window: EncodedWindow
    tokenizer: Any
    prompt: tuple[int, ...]
    sot_index: int
    room: int
    search: Search
    num_sampled: int = 0

    @property
    def length(self) -> int:
        """Positions in the self-attention cache once the latest token has been fed."""
        return len(self.prompt) + self.num_sampled

    def result(self, state: SampledRows) -> Decoded:
        """state: of this sequence's rows."""
        tokens, sum_logprob = self.search.outcome(state)
        return Decoded(
            tokens=tuple(tokens),
            temperature=self.request.temperature,
            avg_logprob=sum_logprob / (len(tokens) + 1),
            compression_ratio=compression_ratio(self.tokenizer.decode(tokens).strip()),
            no_speech_prob=float(state.no_speech_prob[0]),
        )


def sequence_of(strand: RunningStrand, tokenizer: Any, text_positions: int, device: torch.device) -> Sequence:
    """For the Decode that the strand waits for. tokenizer: openai-whisper's, for its language and task."""
    request = strand.request
    if not isinstance(request, Decode):
        raise RuntimeError("the strand asks for no decoding")
    sot = list(tokenizer.sot_sequence)
    before = [tokenizer.sot_prev, *request.prompt] if request.prompt else []
    prompt = before + sot
    generator = torch.Generator(device)
    generator.manual_seed(sampling_seed(strand.task.command.seed, request.seek, request.temperature))
    return Sequence(
        strand=strand,
        request=request,
        window=request.features,
        tokenizer=tokenizer,
        prompt=tuple(prompt),
        sot_index=len(before),
        room=min(text_positions // 2, text_positions + 1 - len(prompt)),
        search=search_for(request, prompt, tokenizer.eot, generator),
    )
