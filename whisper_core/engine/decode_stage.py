"""Decoding: encoded windows get slots, all windows in slots take a step together, and finished ones are answered."""

from __future__ import annotations

from functools import partial

from whisper_core.engine.active_task import ActiveStream
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.slot_batch import SlotBatch
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.memory_recovery import MemoryRecovery
from whisper_core.engine.pipeline import WindowPipeline, decode_request_of, kind_of
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.engine.statistics import EngineStatistics
from whisper_core.engine.stream_driver import StreamDriver


class DecodeStage:
    """Decodes one model's windows. The engine's thread only.

    When memory runs out during an attempt, all windows are taken back and their slot batches are released. So after
    every attempt it is asked whether the pipeline still holds the slot batch. Sequences that had finished but were not
    answered yet are then decoded again, with the same result.
    """

    def __init__(
        self,
        model: LoadedModel,
        pipeline: WindowPipeline,
        driver: StreamDriver,
        recovery: MemoryRecovery,
        limit: SlotLimit,
        statistics: EngineStatistics,
    ) -> None:
        self._model = model
        self._pipeline = pipeline
        self._driver = driver
        self._recovery = recovery
        self._limit = limit
        self._statistics = statistics

    def fill_free_slots(self) -> None:
        """Put encoded windows into slots, and read the prompts of all that have come into one."""
        while stream := self._pipeline.next_for_free_slot():
            self._recovery.attempt(partial(self._place, stream), [stream])
        for batch in self._pipeline.slot_batches():
            for sequences in batch.prompts_to_read():
                if self._pipeline.holds(batch):
                    owners = [sequence.owner for sequence in sequences]
                    self._recovery.attempt(partial(batch.read_prompts, sequences), owners)

    def step(self) -> None:
        """One token for every window in a slot. Answers those that have finished and refills their slots."""
        for batch in self._pipeline.slot_batches():
            if batch.sequences:  # the step of another may have emptied it
                self._step(batch)

    def _place(self, stream: ActiveStream) -> None:
        self._pipeline.slot_batch(kind_of(stream)).add(self._sequence_for(stream))

    def _sequence_for(self, stream: ActiveStream) -> Sequence:
        seed = stream.task.command.seed
        return self._model.sequence(decode_request_of(stream), owner=stream, task_seed=seed)

    def _step(self, batch: SlotBatch) -> None:
        self._statistics.steps += 1
        self._statistics.step_windows += len(batch.sequences)
        finished = self._recovery.attempt(batch.step, [sequence.owner for sequence in batch.sequences])
        if finished is None:
            return
        self._limit.step_succeeded()
        for sequence in reversed(finished):
            if self._pipeline.holds(batch):
                self._finish(batch, sequence)

    def _finish(self, batch: SlotBatch, sequence: Sequence) -> None:
        """Answer the sequence's stream, and give its slot to the next window."""
        stream: ActiveStream = sequence.owner
        result = self._recovery.attempt(lambda: sequence.result(batch.rows_of(sequence)), [stream])
        if result is None:
            return
        self._count(sequence, len(result.tokens))
        stream.request = None
        self._driver.advance_stream(stream, result)
        if not self._pipeline.holds(batch):
            return
        next_stream = self._recovery.attempt(partial(self._next_in_slot, batch, sequence), [stream])
        if not self._pipeline.holds(batch):
            return
        if next_stream is None:
            batch.remove(sequence)
        else:
            self._recovery.attempt(partial(self._replace, batch, sequence, next_stream), [next_stream])
        if next_stream is not stream:
            self._pipeline.enqueue(stream)

    def _next_in_slot(self, batch: SlotBatch, sequence: Sequence) -> ActiveStream | None:
        """The stream that takes the slot: the same one, for its window at the next temperature, or one that waits."""
        stream: ActiveStream = sequence.owner
        if stream.request is not None and not stream.is_done:
            if kind_of(stream) == batch.kind:
                return stream
            sequence.window.detach()
        return self._pipeline.next_for_slot_of(batch)

    def _replace(self, batch: SlotBatch, sequence: Sequence, stream: ActiveStream) -> None:
        batch.replace(sequence, self._sequence_for(stream))

    def _count(self, sequence: Sequence, num_tokens: int) -> None:
        self._statistics.tokens += num_tokens
        window = sequence.window
        window.num_decodings += 1
        self._statistics.windows += window.num_decodings == 1
        self._statistics.fallbacks += window.num_decodings == 2
