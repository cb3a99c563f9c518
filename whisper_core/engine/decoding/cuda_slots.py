"""Slots on a GPU: everything stays where it is, and tables on the device say which slots a step is about.

A window is decoded where the encoder put its keys and values. Its slot, which is the self-attention cache and the state
of its rows, keeps its number for as long as the window is in it. So nothing is copied when windows come and go, and the
graphs that were captured at first stay valid. A step is a graph and a copy of the rows to the host; the start of up to
eight windows is an upload and a graph.
"""

from __future__ import annotations

import heapq
import struct
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from whisper_core.engine.decoding.choosing import Sampling
from whisper_core.engine.decoding.cuda_graphs import new_launch, prompt_buckets, slot_buckets
from whisper_core.engine.decoding.finished_rows import LaggedReadback
from whisper_core.engine.decoding.host_choice import choose_on_host
from whisper_core.engine.decoding.row_state import RowState, SampledRows
from whisper_core.engine.decoding.search import Search, SlotKind
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.slot_batch import Decoder
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.decoding.upload_ring import UploadRing
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt, run_step
from whisper_core.engine.network.self_attention import SelfCache

PROMPTS_AT_ONCE = (8, 4, 2, 1)
# Sequences that a step reports as finished. The others are reported after the next one, which changes nothing in their
# rows: a GPU must not wait while the host answers sixty windows.
_MOST_ENDS = 4
# Columns of an uploaded prompt; the first two are also the rows of the tables.
_SLOT, _PLACE, _SOT, _LAST, _MOST_TOKENS, _TEMPERATURE, _TOKENS = range(7)


@dataclass(frozen=True)
class _Steps:
    """slots: that are computed. num_rows: the first ones, which all rows in use are among. is_on_device: whether no
    search chooses on the host. noise: what is drawn before each step."""

    slots: int
    num_rows: int
    is_on_device: bool
    noise: list[tuple[Search, Tensor]]


class CudaSlots:
    """See SlotBatch. width: rows of each slot. cross: the windows' keys and values, by place. slots: how many there are
    at first. limit: slots that it may grow to, by doubling, which costs all its graphs.
    """

    def __init__(
        self, decoder: Decoder, rules: TokenRules, width: int, cross: CrossCache, slots: int, limit: int
    ) -> None:
        dims = decoder.dims
        self.kind = SlotKind(width, rules.suppress_tokens)
        self.sequences: list[Sequence] = []
        self.limit = limit
        self._decoder = decoder
        self._rules = rules
        self._width = width
        self._cross = cross
        self._uploads = UploadRing(dims.device)
        self._num_not_greedy = 0  # sequences
        self._unread: list[Sequence] = []
        self._free: list[int] = []  # a heap, so that the slots in use are the first ones
        longest = PROMPTS_AT_ONCE[0] * (_TOKENS + prompt_buckets(dims.text_positions)[-1])
        self._prompts = torch.zeros(longest, dtype=torch.int64, device=dims.device)
        self._readback = LaggedReadback()
        self._num_slots = 0
        self._rows_to_be = np.zeros((2, 0), dtype=np.int64)  # what the tables are going to be: slots, and places
        self._steps: _Steps | None = None  # None when windows have come or gone since the last one
        self._cache, self._state = SelfCache.empty(dims, 0), RowState.empty(dims, 0)
        self._allocate(slots)

    def prepare(self) -> None:
        """Capture every pass of plain decoding, the largest first, so that smaller ones find their memory."""
        self._next_steps()
        for slots in reversed(slot_buckets(self._num_slots)):
            self._launch.prepare(("step", self.kind, slots), partial(self._step, slots))
        for length in reversed(prompt_buckets(self._decoder.dims.text_positions)):
            for windows in PROMPTS_AT_ONCE:
                if windows <= self._num_slots:
                    self._launch.prepare(self._prompt_key(windows, length), partial(self._read, windows, length))

    def add(self, sequence: Sequence) -> None:
        if not self._free:
            self._allocate(min(2 * self._num_slots, self.limit))
        sequence.slot = heapq.heappop(self._free)
        self.sequences.append(sequence)
        self._enter(len(self.sequences) - 1, sequence)

    def replace(self, old: Sequence, new: Sequence) -> None:
        new.slot = old.slot
        index = self.sequences.index(old)
        self.sequences[index] = new
        self._num_not_greedy -= not old.search.is_greedy
        self._enter(index, new)

    def remove(self, sequence: Sequence) -> None:
        """The last sequence takes its place in the order, but keeps its slot."""
        index, last = self.sequences.index(sequence), self.sequences.pop()
        end = len(self.sequences)
        if last is not sequence:
            self.sequences[index] = last
            self._rows_to_be[:, index] = self._rows_to_be[:, end]
        self._rows_to_be[:, end] = self._spare, 0
        if sequence in self._unread:
            self._unread.remove(sequence)
        self._num_not_greedy -= not sequence.search.is_greedy
        heapq.heappush(self._free, sequence.slot)
        self._steps = None

    def release(self) -> None:
        for sequence in self.sequences:
            sequence.window.evict()
        self.sequences.clear()
        self._num_not_greedy = 0
        self._unread.clear()
        self._allocate(0)
        self._cross = CrossCache.empty(self._decoder.dims, 0)

    def prompts_to_read(self) -> list[list[Sequence]]:
        by_length: dict[int, list[Sequence]] = {}
        alone = []
        for sequence in self._unread:
            if sequence.window.place is None:  # its task has ended, and it is about to be removed
                continue
            if sequence.search.is_on_device:
                by_length.setdefault(self._prompt_bucket(sequence), []).append(sequence)
            else:
                alone.append([sequence])
        groups = []
        for sequences in by_length.values():
            for count in PROMPTS_AT_ONCE:
                while len(sequences) >= count:
                    groups.append(sequences[:count])
                    del sequences[:count]
        return groups + alone

    def read_prompts(self, sequences: list[Sequence]) -> None:
        length = self._prompt_bucket(sequences[0])
        uploaded: list[int] = []
        for sequence in sequences:
            self._unread.remove(sequence)
            uploaded += self._uploaded(sequence, length)
        self._uploads.upload(uploaded, self._prompts)
        if sequences[0].search.is_on_device:
            for search, noise in self._noise_for(sequences):
                search.draw(noise)
            self._launch(self._prompt_key(len(sequences), length), partial(self._read, len(sequences), length))
        else:
            (sequence,) = sequences
            logits = self._launch(("prompt logits", self.kind, length), partial(self._prompt_logits, 1, length))
            self._choose_on_host(sequences, logits, torch.arange(self._width) + sequence.slot * self._width)

    def step(self) -> list[Sequence]:
        sequences = self.sequences
        if self._steps is None:
            self._steps = self._next_steps()
        now = self._steps
        if not now.is_on_device:
            logits = self._launch(("logits", self.kind, now.slots), partial(self._logits, now.slots))
            self._choose_on_host(sequences, logits, self._rows(self._tables[_SLOT, : len(sequences)]))
            return self._readback.finished(sequences, now.num_rows, may_lag=False)
        for search, noise in now.noise:
            search.draw(noise)
        self._launch(("step", self.kind, now.slots), partial(self._step, now.slots))
        return self._readback.finished(sequences, now.num_rows)[:_MOST_ENDS]

    def rows_of(self, sequence: Sequence) -> SampledRows:
        return self._readback.rows_of(sequence)

    # --- what the graphs compute -----------------------------------------------------------------------------------

    def _step(self, slots: int) -> None:
        """One token for each row of the first `slots` slots of the table."""
        rows = self._rows(self._tables[_SLOT, :slots])
        self._decoder.choose(self._logits(slots), self._rules, self._state, rows, self._noise_of(slots))

    def _logits(self, slots: int) -> Tensor:
        """After the latest tokens of these rows, (rows, vocabulary)."""
        dims, state = self._decoder.dims, self._state
        return run_step(
            self._decoder.layers,
            self._decoder.functions,
            state.token,
            state.position.clamp(max=dims.text_positions - 1),  # rows that have ended take a step too many
            self._rows(self._tables[_SLOT, :slots]),
            self._tables[_PLACE, :slots],
            self._width,
            dims.text_positions,
            self._cross,
            self._cache,
        )

    def _read(self, windows: int, length: int) -> None:
        """Prompts, and the first token after each."""
        logits = self._prompt_logits(windows, length)
        rows = self._rows(self._uploaded_prompts(windows, length)[:, _SLOT].contiguous())  # as kernels read it
        self._decoder.choose(logits, self._rules, self._state, rows, self._noise_of(windows))

    def _prompt_logits(self, windows: int, length: int) -> Tensor:
        """After prompts that are padded to `length`, in all rows of their slots, (rows, vocabulary).

        The padding behind a prompt is read too. No token of the prompt attends to it, and its positions in the
        self-attention cache are overwritten before any token attends to them.
        """
        layers, width, prompts = self._decoder.layers, self._width, self._uploaded_prompts(windows, length)
        slots = prompts[:, _SLOT]
        rows = self._rows(slots)
        self._cache.clear_at(rows)
        read = run_prompt(
            layers,
            prompts[:, _TOKENS:],
            self._cross,
            self._cache,
            rows=slots * width,
            places=prompts[:, _PLACE],
            wanted=prompts[:, _SOT : _LAST + 1],
        )
        logits = layers.logits(read.flatten(0, 1)).view(windows, 2, -1)
        if width > 1:
            self._cache.spread(slots * width, rows, width)
        self._state.begin(
            rows,
            prompt_length=_for_each_row(prompts[:, _LAST] + 1, width),
            max_tokens=_for_each_row(prompts[:, _MOST_TOKENS], width),
            temperature=_for_each_row(prompts[:, _TEMPERATURE].contiguous().view(torch.float64).float(), width),
            timestamp_begin=self._rules.timestamp_begin,
            no_speech_prob=_for_each_row(logits[:, 0].softmax(dim=-1)[:, self._rules.no_speech], width),
        )
        return _for_each_row(logits[:, 1], width).contiguous()  # as kernels read it

    def _enter(self, index: int, sequence: Sequence) -> None:
        self._unread.append(sequence)
        self._num_not_greedy += not sequence.search.is_greedy
        self._rows_to_be[:, index] = sequence.slot, _place_of(sequence)
        self._steps = None

    # --- memory ----------------------------------------------------------------------------------------------------

    def _allocate(self, slots: int) -> None:
        """Take memory for `slots` slots and keep what is in those that there were. Graphs refer to the old memory."""
        torch.cuda.current_stream().synchronize()  # passes that use it may still be running
        dims, kept = self._decoder.dims, min(slots, self._num_slots) * self._width
        rows = (slots + 1) * self._width if slots else 0  # to release must not take anything
        cache, state = SelfCache.empty(dims, rows), RowState.empty(dims, rows)
        cache.rows(0, kept).copy_from(self._cache.rows(0, kept), dims.text_positions)
        state.rows(0, kept).copy_from(self._state.rows(0, kept))
        self._cache, self._state = cache, state
        self._noise = torch.ones(slots * self._width, self._decoder.layers.num_tokens, device=dims.device)
        self._tables = torch.zeros(2, slots, dtype=torch.int64, device=dims.device)
        known = self._rows_to_be[:, : min(slots, len(self.sequences))]
        self._rows_to_be = np.zeros((2, slots), dtype=np.int64)
        self._rows_to_be[_SLOT] = slots
        self._rows_to_be[:, : known.shape[1]] = known
        self._steps = None
        self._readback.read_from(state.sampled)
        self._launch = new_launch()
        self._free = list(range(self._num_slots, slots)) if slots else []
        self._num_slots = slots

    @property
    def _spare(self) -> int:
        """The last slot, in which the rows compute that a pass has too many."""
        return self._num_slots

    # --- tables ----------------------------------------------------------------------------------------------------

    def _next_steps(self) -> _Steps:
        """What steps are like until a window comes or goes. Uploads which slots their rows are in, and in which places
        their windows are."""
        count = len(self.sequences)
        self._uploads.upload(self._rows_to_be.ravel(), self._tables.view(-1))
        searches = [] if not self._num_not_greedy else [sequence.search for sequence in self.sequences]
        return _Steps(
            slots=next(bucket for bucket in slot_buckets(self._num_slots) if bucket >= count),
            num_rows=self._width * (1 + int(self._rows_to_be[_SLOT, :count].max(initial=0))),
            is_on_device=all(search.is_on_device for search in searches),
            noise=self._noise_for(self.sequences) if searches else [],
        )

    def _uploaded(self, sequence: Sequence, length: int) -> list[int]:
        """A row of the uploaded prompts."""
        tokens = sequence.prompt
        (temperature,) = struct.unpack("q", struct.pack("d", sequence.request.temperature))
        last = len(tokens) - 1
        head = (sequence.slot, _place_of(sequence), sequence.sot_index, last, sequence.max_tokens, temperature)
        return [*head, *tokens, *[tokens[-1]] * (length - len(tokens))]

    def _uploaded_prompts(self, windows: int, length: int) -> Tensor:
        return self._prompts[: windows * (_TOKENS + length)].view(windows, -1)

    def _prompt_bucket(self, sequence: Sequence) -> int:
        return next(each for each in prompt_buckets(self._decoder.dims.text_positions) if each >= len(sequence.prompt))

    def _prompt_key(self, windows: int, length: int) -> tuple[object, ...]:
        return "prompt", self.kind, windows, length

    def _rows(self, slots: Tensor) -> Tensor:
        """The numbers of all rows of these slots."""
        if self._width == 1:
            return slots
        return (slots[:, None] * self._width + torch.arange(self._width, device=slots.device)).flatten()

    # --- choosing --------------------------------------------------------------------------------------------------

    def _noise_of(self, slots: int) -> Sampling:
        return Sampling(self._noise[: slots * self._width])

    def _noise_for(self, sequences: list[Sequence]) -> list[tuple[Search, Tensor]]:
        """Where those that are sampled draw their noise before a pass with these sequences in this order."""
        width = self._width
        return [
            (sequence.search, self._noise[number * width : (number + 1) * width])
            for number, sequence in enumerate(sequences)
            if not sequence.search.is_greedy
        ]

    def _choose_on_host(self, sequences: list[Sequence], logits: Tensor | None, rows: Tensor) -> None:
        assert logits is not None  # noqa: S101 - these passes have a result
        rows = rows.to(logits.device)
        own = logits[: len(rows)].float()
        choose_on_host(sequences, own, self._rules, self._cache, self._state, rows)


def _place_of(sequence: Sequence) -> int:
    place = sequence.window.place
    assert place is not None  # noqa: S101 - a window in a slot is encoded
    return place.number


def _for_each_row(of_windows: Tensor, width: int) -> Tensor:
    """(windows, …) to (windows * width, …)."""
    return of_windows if width == 1 else of_windows.repeat_interleave(width, dim=0)
