"""One Decode request on its way through a slot batch: its prompt, its search, its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from whisper.utils import compression_ratio

from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.decoding.row_state import SampledRows
from whisper_core.engine.decoding.search import Search, search_for
from whisper_core.engine.network.dims import DecoderDims
from whisper_core.model_requests import Decode, Decoded, sampling_seed


@dataclass(eq=False)
class Sequence:
    owner: Any  # whoever waits for the result; nothing in this folder looks at it
    request: Decode
    window: EncodedWindow
    tokenizer: Any  # openai-whisper's, for the request's language and task
    prompt: tuple[int, ...]  # every token before the first sampled one
    sot_index: int  # where the start-of-transcript token is in the prompt
    max_tokens: int  # that may be sampled
    search: Search
    slot: int = -1  # in its slot batch; its rows are the `search.width` ones from `slot * search.width` on
    num_sampled: int = 0

    @classmethod
    def of(cls, request: Decode, *, owner: Any, task_seed: int, tokenizer: Any, dims: DecoderDims) -> Sequence:
        """tokenizer: openai-whisper's, for the request's language and task. task_seed: makes its samples repeatable."""
        sot = list(tokenizer.sot_sequence)
        before = [tokenizer.sot_prev, *request.prompt] if request.prompt else []
        prompt = before + sot
        generator = None
        if request.temperature > 0:
            generator = torch.Generator(dims.device)
            generator.manual_seed(sampling_seed(task_seed, request.seek, request.temperature))
        return cls(
            owner=owner,
            request=request,
            window=request.features,
            tokenizer=tokenizer,
            prompt=tuple(prompt),
            sot_index=len(before),
            max_tokens=min(dims.text_positions // 2, dims.text_positions + 1 - len(prompt)),
            search=search_for(request, prompt, tokenizer.eot, dims.device, generator),
        )

    @property
    def length(self) -> int:
        """Positions in use in the self-attention cache once the latest token has been fed to the decoder."""
        return len(self.prompt) + self.num_sampled

    def result(self, rows: SampledRows) -> Decoded:
        """rows: this sequence's."""
        tokens, sum_logprob = self.search.outcome(rows)
        return Decoded(
            tokens=tuple(tokens),
            temperature=self.request.temperature,
            avg_logprob=sum_logprob / (len(tokens) + 1),
            compression_ratio=compression_ratio(self.tokenizer.decode(tokens).strip()),
            no_speech_prob=float(rows.no_speech_prob[0]),
        )
