"""What the decoding rules need to know of every row, on the device, so that no step has to ask the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from whisper_core.engine.network.dims import DecoderShape


@dataclass(frozen=True)
class SampledRows:
    """What a window's result is made of; the fields are those of RowState."""

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
        """Pinned copies. Of rows on a GPU they arrive when the current stream has got so far; nobody waits here."""
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
    """Tensors of one entry a row; the first `n` rows are in use.

    token, position: the latest token, not fed to the decoder yet, and where it stands. no_speech_prob: what the prompt
    said of it. room: tokens that may still be sampled. last_timestamp: the latest timestamp token, or the one before
    the first. was_timestamp: whether the latest token was one; was_timestamp_before: the one before it, True while
    there is none. tokens: (rows, text positions + 1) what was sampled, num_sampled of them.
    """

    token: Tensor
    position: Tensor
    room: Tensor
    num_sampled: Tensor
    last_timestamp: Tensor
    was_timestamp: Tensor
    was_timestamp_before: Tensor
    is_active: Tensor
    sum_logprob: Tensor
    no_speech_prob: Tensor
    tokens: Tensor

    @classmethod
    def empty(cls, shape: DecoderShape, rows: int) -> RowState:
        def zeros(*sizes: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(sizes, dtype=dtype, device=shape.device)

        return cls(
            token=zeros(rows, dtype=torch.int64),
            position=zeros(rows, dtype=torch.int64),
            room=zeros(rows, dtype=torch.int64),
            num_sampled=zeros(rows, dtype=torch.int64),
            last_timestamp=zeros(rows, dtype=torch.int64),
            was_timestamp=zeros(rows, dtype=torch.bool),
            was_timestamp_before=zeros(rows, dtype=torch.bool),
            is_active=zeros(rows, dtype=torch.bool),
            sum_logprob=zeros(rows, dtype=torch.float32),
            no_speech_prob=zeros(rows, dtype=torch.float32),
            tokens=zeros(rows, shape.text_positions + 1, dtype=torch.int64),
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
        """Row i becomes what row sources[i] is."""
        for tensor in self._tensors():
            tensor.copy_(tensor[sources])

    def begin(self, prompt_length: int, room: int, timestamp_begin: int, no_speech_prob: Tensor) -> None:
        """A prompt has been read, and nothing has been sampled yet, in all these rows. no_speech_prob: ()."""
        self.no_speech_prob.copy_(no_speech_prob)
        self.position.fill_(prompt_length - 1)
        self.room.fill_(room)
        self.num_sampled.zero_()
        self.last_timestamp.fill_(timestamp_begin - 1)
        # As if a timestamp had come before: so the token before the first counts as one, as upstream wants it. The
        # first step itself does not look (TokenRules).
        self.was_timestamp.fill_(True)
        self.was_timestamp_before.fill_(True)
        self.is_active.fill_(True)
        self.sum_logprob.zero_()

    def commit(self, choice: Tensor, logprob: Tensor, timestamp_begin: int, eot: int) -> None:
        """Take in the chosen tokens, (rows,); rows that have ended stay as they are and say `eot`."""
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
        self.room.sub_(active.long())
        active.logical_and_(token != eot).logical_and_(self.room > 0)

    def _tensors(self) -> Iterator[Tensor]:
        return (getattr(self, field.name) for field in fields(self))
