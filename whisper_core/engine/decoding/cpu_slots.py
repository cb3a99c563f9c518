"""Slots on the CPU: the windows in them are copied side by side, so a step works on a slice of every tensor.

A slot that becomes free is filled at once, by the next window or else by the window in the last slot. Passes are as
large as what there is to compute, and finished rows are read at once.
"""

from __future__ import annotations

from functools import partial

import torch

from errors import OutOfMemoryError
from whisper_core.engine.decoding.finished_rows import have_finished
from whisper_core.engine.decoding.host_choice import choose_on_host
from whisper_core.engine.decoding.row_state import RowState, SampledRows
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.slot_batch import Decoder
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt, run_step
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.worker.device_errors import guarded


class CpuSlots:
    """See SlotBatch. width: rows of each slot. limit: slots that it may grow to.

    It has room for all of them at once, because pages take memory only once they are written to, and because growing
    would hold the old slots and the new ones for a moment: five windows took as much as eight.
    """

    def __init__(self, decoder: Decoder, rules: TokenRules, width: int, limit: int) -> None:
        self.kind = SlotKind(width, rules.suppress_tokens)
        self.sequences: list[Sequence] = []  # by slot
        self.limit = limit
        self._width = width
        self._decoder = decoder
        self._rules = rules
        self._unread: list[Sequence] = []
        self._capacity = 0
        dims = decoder.dims
        self._cross, self._cache = CrossCache.empty(dims, 0), SelfCache.empty(dims, 0)
        self._state = RowState.empty(dims, 0)

    def cross_of(self, slot: int) -> CrossCache:
        return self._cross.slots(slot)

    def add(self, sequence: Sequence) -> None:
        if len(self.sequences) == self._capacity:
            self._grow()
        self._place(sequence, len(self.sequences))
        self.sequences.append(sequence)

    def replace(self, old: Sequence, new: Sequence) -> None:
        if new.window is old.window:
            new.slot = old.slot
            self._unread.append(new)
        else:
            self._evict(old)
            self._place(new, old.slot)
        self.sequences[old.slot] = new

    def remove(self, sequence: Sequence) -> None:
        """The last slot's window moves into the slot."""
        last = self.sequences.pop()
        self._evict(sequence)
        if sequence in self._unread:
            self._unread.remove(sequence)
        if last is not sequence:
            self._move(last, sequence.slot)

    def release(self) -> None:
        for sequence in self.sequences:
            self._evict(sequence)
        self.sequences.clear()
        self._unread.clear()
        self._allocate(0)

    def prompts_to_read(self) -> list[list[Sequence]]:
        """One by one: a prompt's time grows in proportion to its tokens, so nothing would be saved together."""
        return [[sequence] for sequence in self._unread]

    def read_prompts(self, sequences: list[Sequence]) -> None:
        for sequence in sequences:
            self._unread.remove(sequence)
            self._read_prompt(sequence)

    def step(self) -> list[Sequence]:
        sequences = self.sequences
        rows = slice(0, len(sequences) * self._width)
        length = min(max(sequence.length for sequence in sequences), self._decoder.dims.text_positions)
        logits = run_step(
            self._decoder.layers,
            self._decoder.functions,
            self._state.token,
            self._state.position.clamp(max=self._decoder.dims.text_positions - 1),
            rows,
            slice(0, len(sequences)),
            self._width,
            length,
            self._cross,
            self._cache,
        )
        self._choose(sequences, logits, rows)
        return have_finished(sequences, self._state.sampled.part(0, rows.stop))

    def rows_of(self, sequence: Sequence) -> SampledRows:
        """A view, valid until the slot is used again."""
        return self._state.sampled.part(sequence.slot * self._width, self._width)

    def _grow(self) -> None:
        try:
            guarded(partial(self._allocate, self.limit))
        except OutOfMemoryError:  # where the address space is limited, room for all may be refused although some fit
            self._allocate(min(max(1, 2 * self._capacity), self.limit))

    def _place(self, sequence: Sequence, slot: int) -> None:
        self._cross.slots(slot).copy_from(sequence.window.cross)
        sequence.window.move_into(self, slot)
        sequence.slot = slot
        self._unread.append(sequence)

    def _read_prompt(self, sequence: Sequence) -> None:
        layers, width, length = self._decoder.layers, self._width, len(sequence.prompt)
        first, rows = sequence.slot * width, slice(sequence.slot * width, (sequence.slot + 1) * width)
        self._cache.rows(first, width).clear()
        read = run_prompt(
            layers,
            torch.tensor([sequence.prompt]),
            self._cross.slots(sequence.slot),
            self._cache,
            rows=slice(first, first + 1),
            wanted=torch.tensor([[sequence.sot_index, length - 1]]),
        )
        at_sot, at_end = layers.logits(read[0])
        if width > 1:
            self._cache.rows(first, width).copy_from(self._cache.rows(first, 1), length)
        self._state.begin(
            rows,
            prompt_length=length,
            max_tokens=sequence.max_tokens,
            temperature=sequence.request.temperature,
            timestamp_begin=self._rules.timestamp_begin,
            no_speech_prob=at_sot.softmax(dim=-1)[self._rules.no_speech],
        )
        self._choose([sequence], at_end.repeat(width, 1), rows)

    def _choose(self, sequences: list[Sequence], logits: torch.Tensor, rows: slice) -> None:
        """logits, not filtered: of these sequences' rows."""
        if all(sequence.search.is_greedy for sequence in sequences):
            self._decoder.choose(logits, self._rules, self._state, rows, None)
            for sequence in sequences:
                sequence.num_sampled += 1
        else:
            choose_on_host(sequences, logits.float(), self._rules, self._cache, self._state, rows)

    def _evict(self, sequence: Sequence) -> None:
        """Does nothing to a window that was detached, because it is decoded further in another slot batch."""
        if sequence.window.holder is self:
            sequence.window.evict()

    def _move(self, sequence: Sequence, slot: int) -> None:
        source = sequence.slot
        self._cross.slots(slot).copy_from(self._cross.slots(source))
        first, last = slot * self._width, source * self._width
        positions = self._decoder.dims.text_positions
        self._cache.rows(first, self._width).copy_from(self._cache.rows(last, self._width), positions)
        self._state.rows(first, self._width).copy_from(self._state.rows(last, self._width))
        self.sequences[slot] = sequence
        sequence.slot = slot
        if sequence.window.holder is self:
            sequence.window.move_into(self, slot)

    def _allocate(self, capacity: int) -> None:
        """Take memory for `capacity` slots and keep what is in the slots in use."""
        dims, used, rows = self._decoder.dims, len(self.sequences), len(self.sequences) * self._width
        cross = CrossCache.empty(dims, capacity)
        cache = SelfCache.empty(dims, capacity * self._width)
        state = RowState.empty(dims, capacity * self._width)
        cross.slots(0, used).copy_from(self._cross.slots(0, used))
        cache.rows(0, rows).copy_from(self._cache.rows(0, rows), dims.text_positions)
        state.rows(0, rows).copy_from(self._state.rows(0, rows))
        self._capacity, self._cross, self._cache, self._state = capacity, cross, cache, state
