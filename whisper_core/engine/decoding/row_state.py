"""What the decoding rules need to know about every row, kept on the device so that no step has to ask the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from whisper_core.engine.network.dims import DecoderDims, Rows

_ACTIVE, _COUNT, _LOGPROB, _NO_SPEECH, _TOKENS = range(5)  # columns of SampledRows.record; tokens from the last one on


@dataclass(frozen=True)
class SampledRows:
    """What a window's result is made of, in one tensor, so that a GPU sends it to the host in one copy.

    record: (rows, 5 + text positions) int32; the columns with fractions hold the bits of a float32.
    """

    record: Tensor

    @classmethod
    def empty(cls, rows: int, text_positions: int, device: torch.device) -> SampledRows:
        return cls(torch.zeros(rows, _TOKENS + text_positions + 1, dtype=torch.int32, device=device))

    # Each of these is a view with one entry per row.

    @property
    def is_active(self) -> Tensor:
        """1 or 0."""
        return self.record[:, _ACTIVE]

    def active_flags(self) -> list[int]:
        """`is_active` of rows on the host. One by one they take less time than torch's operations."""
        flags: list[int] = self.record.numpy()[:, _ACTIVE].tolist()
        return flags

    @property
    def num_sampled(self) -> Tensor:
        return self.record[:, _COUNT]

    @property
    def sum_logprob(self) -> Tensor:
        return self.record[:, _LOGPROB].view(torch.float32)

    @property
    def no_speech_prob(self) -> Tensor:
        """Read at the start-of-transcript token of the prompt."""
        return self.record[:, _NO_SPEECH].view(torch.float32)

    @property
    def tokens(self) -> Tensor:
        """(rows, text positions + 1): what was sampled, `num_sampled` of them."""
        return self.record[:, _TOKENS:]

    def part(self, first: int, count: int) -> SampledRows:
        """A view of some rows."""
        return SampledRows(self.record[first : first + count])


@dataclass(frozen=True)
class RowState:
    """Tensors with one entry per row, of which the first rows are in use."""

    token: Tensor  # the latest token, not fed to the decoder yet
    position: Tensor  # of that token
    tokens_left: Tensor  # that may still be sampled
    last_timestamp: Tensor  # the latest timestamp token; before the first, the token number below all timestamps
    was_timestamp: Tensor  # whether the latest token is a timestamp
    was_timestamp_before: Tensor  # the same of the token before it
    temperature: Tensor  # float32; 0 where the likeliest token is chosen
    record: Tensor  # of `sampled`

    @classmethod
    def empty(cls, dims: DecoderDims, rows: int) -> RowState:
        def zeros(dtype: torch.dtype) -> Tensor:
            return torch.zeros(rows, dtype=dtype, device=dims.device)

        return cls(
            token=zeros(torch.int64),
            position=zeros(torch.int64),
            tokens_left=zeros(torch.int64),
            last_timestamp=zeros(torch.int64),
            was_timestamp=zeros(torch.bool),
            was_timestamp_before=zeros(torch.bool),
            temperature=zeros(torch.float32),
            record=SampledRows.empty(rows, dims.text_positions, dims.device).record,
        )

    @property
    def sampled(self) -> SampledRows:
        """A view."""
        return SampledRows(self.record)

    def rows(self, first: int, count: int) -> RowState:
        """A view of some rows."""
        return self.at(slice(first, first + count))

    def at(self, rows: Rows) -> RowState:
        """A view of a slice, or a copy of the rows with these numbers, which `write` puts back."""
        return RowState(*(tensor[rows] for tensor in self.tensors()))

    def copy_from(self, other: RowState) -> None:
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs)

    def reorder(self, sources: list[int]) -> None:
        """Row i becomes what row sources[i] was."""
        for tensor in self.tensors():
            tensor.copy_(tensor[sources])

    def write(self, rows: Rows, part: RowState) -> None:
        """Put back what `at` returned for these rows and was changed since, without a wait for the device."""
        if isinstance(rows, Tensor):
            for mine, theirs in zip(self.tensors(), part.tensors(), strict=True):
                mine.index_copy_(0, rows, theirs)

    def begin(
        self,
        rows: Rows,
        *,
        prompt_length: int | Tensor,
        max_tokens: int | Tensor,
        temperature: float | Tensor,
        timestamp_begin: int,
        no_speech_prob: Tensor,
    ) -> None:
        """In these rows a prompt has been read and nothing has been sampled yet. All tensors: () or (n,)."""
        part = self.at(rows)
        part.position[:] = prompt_length - 1
        part.tokens_left[:] = max_tokens
        part.temperature[:] = temperature
        part.last_timestamp.fill_(timestamp_begin - 1)
        # Upstream treats a sequence of one token as if the token before it were a timestamp. The first step does not
        # look at these (TokenRules).
        part.was_timestamp.fill_(True)
        part.was_timestamp_before.fill_(True)
        sampled = part.sampled
        sampled.is_active.fill_(1)
        sampled.num_sampled.zero_()
        sampled.sum_logprob.zero_()
        sampled.no_speech_prob[:] = no_speech_prob
        self.write(rows, part)

    def commit(self, choice: Tensor, logprob: Tensor, timestamp_begin: int, eot: int) -> None:
        """Append the chosen tokens. Rows that have ended stay as they are and get `eot`. choice, logprob: (rows,)."""
        sampled = self.sampled
        active, tokens = sampled.is_active, sampled.tokens
        is_active = active.bool()
        token = torch.where(is_active, choice, eot)
        place = sampled.num_sampled.clamp(max=tokens.shape[1] - 1).long()
        tokens.scatter_(1, place[:, None], token.int()[:, None])
        sampled.sum_logprob.add_(torch.where(is_active, logprob, 0.0))
        is_timestamp = token >= timestamp_begin
        self.was_timestamp_before.copy_(self.was_timestamp)
        self.was_timestamp.copy_(is_timestamp)
        self.last_timestamp.copy_(torch.where(is_timestamp, token, self.last_timestamp))
        self.token.copy_(token)
        self.position.add_(active)
        sampled.num_sampled.add_(active)
        self.tokens_left.sub_(active)
        active.mul_((token != eot) & (self.tokens_left > 0))

    def tensors(self) -> Iterator[Tensor]:
        """All of them, in the order of the fields."""
        return (getattr(self, field.name) for field in fields(self))
