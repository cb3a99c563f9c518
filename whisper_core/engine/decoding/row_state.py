"""What the decoding rules need to know about every row, kept on the device so that no step has to ask the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from whisper_core.engine.network.dims import DecoderDims


@dataclass(frozen=True)
class SampledRows:
    """The part of RowState that a window's result is made of; the fields mean the same."""

    is_active: Tensor
    num_sampled: Tensor
    sum_logprob: Tensor
    no_speech_prob: Tensor
    tokens: Tensor

    @classmethod
    def none(cls) -> SampledRows:
        return cls(*(torch.empty(0) for _ in fields(cls)))

    def part(self, first: int, count: int) -> SampledRows:
        """A view of some rows."""
        return SampledRows(*(tensor[first : first + count] for tensor in self._tensors()))

    def on_host(self) -> SampledRows:
        """Copies in pinned memory. Does not wait: from a GPU they arrive in the order of the current CUDA stream."""
        return SampledRows(
            *(
                torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
                for tensor in self._tensors()
            )
        )

    def _tensors(self) -> Iterator[Tensor]:
        return (getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class RowState:
    """Tensors with one entry per row, of which the first rows are in use."""

    token: Tensor  # the latest token, not fed to the decoder yet
    position: Tensor  # of that token
    tokens_left: Tensor  # that may still be sampled
    num_sampled: Tensor
    last_timestamp: Tensor  # the latest timestamp token; before the first, the token number below all timestamps
    was_timestamp: Tensor  # whether the latest token is a timestamp
    was_timestamp_before: Tensor  # the same of the token before it
    is_active: Tensor
    sum_logprob: Tensor
    no_speech_prob: Tensor  # read at the start-of-transcript token of the prompt
    tokens: Tensor  # (rows, text positions + 1): what was sampled, num_sampled of them

    @classmethod
    def empty(cls, dims: DecoderDims, rows: int) -> RowState:
        def zeros(*sizes: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(sizes, dtype=dtype, device=dims.device)

        return cls(
            token=zeros(rows, dtype=torch.int64),
            position=zeros(rows, dtype=torch.int64),
            tokens_left=zeros(rows, dtype=torch.int64),
            num_sampled=zeros(rows, dtype=torch.int64),
            last_timestamp=zeros(rows, dtype=torch.int64),
            was_timestamp=zeros(rows, dtype=torch.bool),
            was_timestamp_before=zeros(rows, dtype=torch.bool),
            is_active=zeros(rows, dtype=torch.bool),
            sum_logprob=zeros(rows, dtype=torch.float32),
            no_speech_prob=zeros(rows, dtype=torch.float32),
            tokens=zeros(rows, dims.text_positions + 1, dtype=torch.int64),
        )

    def rows(self, first: int, count: int) -> RowState:
        """A view of some rows."""
        return RowState(*(tensor[first : first + count] for tensor in self._tensors()))

    def sampled(self) -> SampledRows:
        """A view."""
        return SampledRows(self.is_active, self.num_sampled, self.sum_logprob, self.no_speech_prob, self.tokens)

    def copy_from(self, other: RowState) -> None:
        for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):
            mine.copy_(theirs)

    def reorder(self, sources: list[int]) -> None:
        """Row i becomes what row sources[i] was."""
        for tensor in self._tensors():
            tensor.copy_(tensor[sources])

    def reset(self, prompt_length: int, max_tokens: int, timestamp_begin: int, no_speech_prob: Tensor) -> None:
        """In all these rows a prompt has been read and nothing has been sampled yet. no_speech_prob: ()."""
        self.no_speech_prob.copy_(no_speech_prob)
        self.position.fill_(prompt_length - 1)
        self.tokens_left.fill_(max_tokens)
        self.num_sampled.zero_()
        self.last_timestamp.fill_(timestamp_begin - 1)
        # Upstream treats a sequence of one token as if the token before it were a timestamp. The first step does not
        # look at these (TokenRules).
        self.was_timestamp.fill_(True)
        self.was_timestamp_before.fill_(True)
        self.is_active.fill_(True)
        self.sum_logprob.zero_()

    def commit(self, choice: Tensor, logprob: Tensor, timestamp_begin: int, eot: int) -> None:
        """Append the chosen tokens. Rows that have ended stay as they are and get `eot`. choice, logprob: (rows,)."""
        active = self.is_active
        token = torch.where(active, choice, eot)
        self.tokens.scatter_(1, self.num_sampled.clamp(max=self.tokens.shape[1] - 1)[:, None], token[:, None])
        self.sum_logprob.add_(torch.where(active, logprob, 0.0))
        is_timestamp = token >= timestamp_begin
        self.was_timestamp_before.copy_(self.was_timestamp)
        self.was_timestamp.copy_(is_timestamp)
        self.last_timestamp.copy_(torch.where(is_timestamp, token, self.last_timestamp))
        self.token.copy_(token)
        self.position.add_(active)
        self.num_sampled.add_(active)
        self.tokens_left.sub_(active.long())
        active.logical_and_(token != eot).logical_and_(self.tokens_left > 0)

    def _tensors(self) -> Iterator[Tensor]:
        return (getattr(self, field.name) for field in fields(self))
