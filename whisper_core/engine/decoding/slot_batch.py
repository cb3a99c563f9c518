"""A slot batch: the windows that are decoded together, one in each slot, and their step.

The slots in use are always the first ones, so a step works on a slice of every tensor: a slot that becomes free is
filled at once, by the next window or else by the window in the last slot. All searches in a slot batch are equally
wide, so that the rows of one window lie together and share its cross-attention cache, and suppress the same tokens.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from errors import OutOfMemoryError
from whisper_core.engine.decoding.cuda_graphs import PassSizes, launch_on
from whisper_core.engine.decoding.finished_rows import readback_for
from whisper_core.engine.decoding.prompt_pass import DirectPrompt, PaddedPrompt, PromptPass, Slots
from whisper_core.engine.decoding.row_state import RowState, SampledRows
from whisper_core.engine.decoding.search import SlotKind, choose_likeliest, likeliest, logprob_of
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_step
from whisper_core.engine.network.dims import DecoderDims
from whisper_core.engine.network.layers import DecoderLayers
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.step_functions import TORCH_FUNCTIONS
from whisper_core.worker.device_errors import guarded


class SlotBatch:
    """width: rows of each slot. limit: slots that it may grow to.

    On a GPU it doubles as they are needed. On the CPU it has room for all of them at once, because pages take memory
    only once they are written to, and because growing would hold the old slots and the new ones for a moment: five
    windows took as much as eight.
    """

    def __init__(self, layers: DecoderLayers, dims: DecoderDims, rules: TokenRules, width: int, limit: int) -> None:
        self.width = width
        self.limit = limit
        self.sequences: list[Sequence] = []  # by slot
        self._layers = layers
        self._dims = dims
        self._rules = rules
        self._readback = readback_for(dims.device)
        self._grows_at_once = dims.device.type == "cpu"
        self._capacity = 0
        self._cross = CrossCache.empty(dims, 0)
        self._cache = SelfCache.empty(dims, 0)
        self._state = RowState.empty(dims, 0)
        self._prepare_passes()

    @property
    def kind(self) -> SlotKind:
        """Of its slots."""
        return SlotKind(self.width, self._rules.suppress_tokens)

    def cross_of(self, slot: int) -> CrossCache:
        return self._cross.slots(slot)

    def add(self, sequence: Sequence) -> None:
        """Put an encoded window into a free slot and read its prompt."""
        if len(self.sequences) == self._capacity:
            self._grow()
        self._place(sequence, len(self.sequences))
        self.sequences.append(sequence)
        self._read_prompt(sequence)

    def replace(self, old: Sequence, new: Sequence) -> None:
        """Give a finished sequence's slot to the next window, or to the same window at its next temperature."""
        slot = self.sequences.index(old)
        if new.window is not old.window:
            self._evict(old)
            self._place(new, slot)
        self.sequences[slot] = new
        self._read_prompt(new)

    def remove(self, sequence: Sequence) -> None:
        """Free a slot; the last slot's window moves into it."""
        slot, last = self.sequences.index(sequence), self.sequences.pop()
        self._evict(sequence)
        if last is not sequence:
            self._move(last, slot)

    def release(self) -> None:
        """Give the memory back at once, even while references to this slot batch remain. Its windows are evicted."""
        for sequence in self.sequences:
            self._evict(sequence)
        self.sequences.clear()
        self._allocate(0)

    def step(self) -> list[Sequence]:
        """Choose the next token of every row. Returns the sequences that have finished; they keep their slots."""
        rows = len(self.sequences) * self.width
        slots = self._sizes.slots(len(self.sequences))
        length = self._sizes.positions(max(sequence.length for sequence in self.sequences))
        state = self._state.rows(0, rows)
        if all(sequence.search.is_greedy for sequence in self.sequences):
            self._launch(("greedy step", slots, length), partial(self._step_greedily, slots * self.width, length))
            for sequence in self.sequences:
                sequence.num_sampled += 1
        else:
            forward = partial(self._filtered_logits, slots * self.width, length)
            logits = self._launch(("logits", slots, length), forward)
            self._choose(self.sequences, logits[:rows], state)
        return self._readback.finished(self.sequences, state)

    def rows_of(self, sequence: Sequence) -> SampledRows:
        """What was sampled for a sequence that the latest step returned."""
        return self._readback.rows_of(sequence)

    def _grow(self) -> None:
        doubled = min(max(1, 2 * self._capacity), self.limit)
        if not self._grows_at_once:
            self._allocate(doubled)
            return
        try:
            guarded(partial(self._allocate, self.limit))
        except OutOfMemoryError:  # where the address space is limited, room for all may be refused although some fit
            self._allocate(doubled)

    def _place(self, sequence: Sequence, slot: int) -> None:
        self._cross.slots(slot).copy_from(sequence.window.cross)
        sequence.window.move_into(self, slot)

    def _read_prompt(self, sequence: Sequence) -> None:
        """Up to the first token, which is chosen."""
        logits = self._prompt_pass.read(sequence)
        if sequence.search.is_greedy:
            sequence.num_sampled += 1
        else:
            self._choose([sequence], logits, self._state.rows(sequence.window.slot * self.width, self.width))

    def _step_greedily(self, rows: int, length: int) -> Tensor:
        """One token for each of the first rows, (rows,).

        Rows that belong to no sequence are computed too, up to the last position; all of their state is overwritten
        before a sequence uses it.
        """
        logits = self._filtered_logits(rows, length)
        return choose_likeliest(logits, self._state.rows(0, rows), self._rules.timestamp_begin, self._rules.eot)

    def _filtered_logits(self, rows: int, length: int) -> Tensor:
        """The first rows' logits after their latest tokens, (rows, vocabulary). rows: of whole slots."""
        state = self._state.rows(0, rows)
        positions = state.position.clamp(max=self._dims.text_positions - 1)
        places = slice(0, rows // self.width)
        logits = run_step(
            self._layers,
            TORCH_FUNCTIONS,
            state.token,
            positions,
            slice(0, rows),
            places,
            self.width,
            length,
            self._cross,
            self._cache,
        ).float()
        self._rules.apply(logits, state)
        return logits

    def _choose(self, sequences: list[Sequence], logits: Tensor, state: RowState) -> None:
        """logits, filtered, and state: of these sequences' rows."""
        choice = likeliest(logits)
        for number, sequence in enumerate(sequences):
            if not sequence.search.is_greedy:
                part = slice(number * self.width, (number + 1) * self.width)
                choice[part] = sequence.search.choose(logits[part], choice[part])
                self._follow_sources(sequence)
            sequence.num_sampled += 1
        state.commit(choice, logprob_of(choice, logits), self._rules.timestamp_begin, self._rules.eot)

    def _follow_sources(self, sequence: Sequence) -> None:
        sources = sequence.search.sources
        if sources is not None and sources != list(range(self.width)):
            row = sequence.window.slot * self.width
            self._cache.rows(row, self.width).reorder(sources, sequence.length)
            self._state.rows(row, self.width).reorder(sources)

    def _evict(self, sequence: Sequence) -> None:
        """Does nothing to a window that was detached, because it is decoded further in another slot batch."""
        if sequence.window.holder is self:
            sequence.window.evict()

    def _move(self, sequence: Sequence, slot: int) -> None:
        source = sequence.window.slot
        self._cross.slots(slot).copy_from(self._cross.slots(source))
        first, last = slot * self.width, source * self.width
        self._cache.rows(first, self.width).copy_from(self._cache.rows(last, self.width), self._dims.text_positions)
        self._state.rows(first, self.width).copy_from(self._state.rows(last, self.width))
        self.sequences[slot] = sequence
        sequence.window.move_into(self, slot)

    def _allocate(self, capacity: int) -> None:
        """Take memory for `capacity` slots and keep what is in the slots in use."""
        used, rows = len(self.sequences), len(self.sequences) * self.width
        cross = CrossCache.empty(self._dims, capacity)
        cache = SelfCache.empty(self._dims, capacity * self.width)
        state = RowState.empty(self._dims, capacity * self.width)
        cross.slots(0, used).copy_from(self._cross.slots(0, used))
        cache.rows(0, rows).copy_from(self._cache.rows(0, rows), self._dims.text_positions)
        state.rows(0, rows).copy_from(self._state.rows(0, rows))
        self._capacity, self._cross, self._cache, self._state = capacity, cross, cache, state
        self._prepare_passes()

    def _prepare_passes(self) -> None:
        """Needed after every allocation, because a graph refers to its memory by address."""
        device = self._dims.device
        self._sizes = PassSizes(self._capacity, self._dims.text_positions, has_buckets=device.type == "cuda")
        self._launch = launch_on(device, self._capacity)
        self._prompt_pass = self._new_prompt_pass()

    def _new_prompt_pass(self) -> PromptPass:
        slots = Slots(self.width, self._cross, self._cache, self._state)
        if not self._sizes.has_buckets:
            return DirectPrompt(self._layers, self._rules, slots)
        fresh = RowState.empty(self._dims, self.width)
        return PaddedPrompt(self._layers, self._rules, slots, fresh, self._sizes, self._launch)
