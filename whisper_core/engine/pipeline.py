"""Where the windows of one model are: waiting for the encoder, in it, encoded and waiting for a slot, or in a slot."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from whisper_core.engine.active_task import ActiveStream, ActiveTask
from whisper_core.engine.decoding.search import SlotKind, slot_kind
from whisper_core.engine.decoding.slot_batch import SlotBatch
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.engine.window_memory import WindowMemory
from whisper_core.model_requests import Decode


class WindowPipeline:
    """Keeps each stream in the stage that its window has reached, and bounds how many are in each.

    Computes nothing. The engine's thread only.
    """

    def __init__(self, memory: WindowMemory, limit: SlotLimit) -> None:
        self._memory = memory
        self._limit = limit
        self._to_encode: deque[ActiveStream] = deque()
        self._encoding: list[ActiveStream] = []
        self._encoded: deque[ActiveStream] = deque()
        self._batches: dict[SlotKind, SlotBatch] = {}

    @property
    def num_to_encode(self) -> int:
        """Windows that may be encoded now.

        An encoded window takes as much memory as a slot, so no more are encoded than will soon find a slot, and none
        ahead when memory was enough for a single window only.
        """
        if not self._to_encode or (self._memory.is_released and self._encoding):
            return 0
        ahead = 0 if self._limit.is_down_to_one else self._memory.ahead
        room = self._memory.slots + ahead - self.num_in_flight
        return max(0, min(room, sum(not stream.is_held_back for stream in self._to_encode)))

    @property
    def num_encoding(self) -> int:
        return len(self._encoding)

    @property
    def encoding(self) -> list[ActiveStream]:
        """The streams whose windows are in the encoder."""
        return self._encoding

    @property
    def num_decoding(self) -> int:
        """Windows in slots."""
        return sum(len(batch.sequences) for batch in self._batches.values())

    @property
    def num_in_flight(self) -> int:
        """Windows that take memory, or are about to."""
        return self.num_decoding + len(self._encoded) + len(self._encoding)

    def is_working_on(self, task: ActiveTask) -> bool:
        """Whether work would be lost if the task ended now."""
        idle = sum(stream.task is task and stream.is_held_back for stream in self._to_encode)
        return idle < len(task.streams)

    def enqueue(self, stream: ActiveStream) -> None:
        """Put a stream where its window waits next. Does nothing when it has ended or waits for nothing."""
        if stream.is_done or stream.window is None or stream not in stream.task.streams:
            return
        if not stream.window.is_encoded:
            if stream not in self._to_encode:
                self._to_encode.append(stream)
        elif isinstance(stream.request, Decode):
            self._encoded.append(stream)

    def start_encoding(self) -> list[ActiveStream]:
        """The streams whose windows are encoded next, those of exact tasks first. Follow with `finish_encoding`.

        Their number is a power of two, so that batches have few sizes and no window is padding.
        """
        waiting = [stream for stream in self._to_encode if not stream.is_held_back]
        waiting.sort(key=lambda stream: not stream.task.is_exact)
        streams = waiting[: largest_power_of_two(min(self.num_to_encode, self._memory.ahead))]
        for stream in streams:
            self._to_encode.remove(stream)
            stream.was_started = True
        self._encoding.extend(streams)
        return streams

    def finish_encoding(self, streams: Iterable[ActiveStream]) -> None:
        for stream in streams:
            self._encoding.remove(stream)

    def next_for_free_slot(self) -> ActiveStream | None:
        """The first stream whose window waits for a slot; None when none waits or no slot is free."""
        while self._encoded and self.num_decoding < self._memory.slots:
            stream = self._encoded.popleft()
            if not stream.is_done:
                return stream
        return None

    def next_for_slot_of(self, batch: SlotBatch) -> ActiveStream | None:
        """The first stream whose window waits for a slot and fits into one of this slot batch."""
        for stream in self._encoded:
            if not stream.is_done and kind_of(stream) == batch.kind:
                self._encoded.remove(stream)
                return stream
        return None

    def slot_batch(self, kind: SlotKind) -> SlotBatch:
        """The slot batch of that kind; a new one when there is none."""
        if kind not in self._batches:
            self._batches[kind] = self._memory.slot_batch(kind)
        batch = self._batches[kind]
        batch.limit = self._memory.slots  # it may have grown
        return batch

    def holds(self, batch: SlotBatch) -> bool:
        """Whether the slot batch has not been released since `slot_batch` returned it."""
        return self._batches.get(batch.kind) is batch

    def slot_batches(self) -> list[SlotBatch]:
        return list(self._batches.values())

    def take_back(self) -> list[ActiveStream]:
        """Take all windows out of their slots and out of the queue for one, and free the slots' memory.

        Returns the streams of these windows, which are in no stage now.
        """
        streams: list[ActiveStream] = [
            sequence.owner for batch in self._batches.values() for sequence in batch.sequences
        ]
        streams.extend(self._encoded)
        self.release_slots()
        self._encoded.clear()
        return streams

    def release_slots(self) -> None:
        """No window may be in flight but those in slots and in the encoder."""
        for batch in self._batches.values():
            batch.release()
        self._batches.clear()
        self._memory.release()

    def release_unused_slots(self, needed: Collection[SlotKind] = ()) -> bool:
        """Free the slot batches that hold no window and are of no needed kind, unless they are kept for as long as the
        model is resident. Returns whether there were any."""
        unused = [kind for kind, batch in self._batches.items() if not batch.sequences and kind not in needed]
        freed = [self._batches.pop(kind) for kind in unused if not self._memory.keeps(kind)]
        for batch in freed:
            batch.release()
        return bool(freed)

    def release_all_unused(self) -> bool:
        """Free what holds no window, even what is kept. Returns whether there was anything."""
        was_released = self.release_unused_slots()
        if self.num_in_flight:
            return was_released
        self._batches.clear()
        return self._memory.release() or was_released

    def drop_done(self) -> None:
        """Remove the streams of tasks that have ended. Those in the encoder are removed by `finish_encoding`."""
        self._to_encode = deque(stream for stream in self._to_encode if not stream.is_done)
        self._encoded = deque(stream for stream in self._encoded if not stream.is_done)
        for batch in self._batches.values():
            done = [sequence for sequence in batch.sequences if sequence.owner.is_done]
            for sequence in reversed(done):  # from the end, so that none of them is moved first
                batch.remove(sequence)


def kind_of(stream: ActiveStream) -> SlotKind:
    """Of the slot for the stream's next decoding."""
    return slot_kind(decode_request_of(stream))


def decode_request_of(stream: ActiveStream) -> Decode:
    """Raises RuntimeError when the stream waits for no decoding."""
    if not isinstance(stream.request, Decode):
        raise RuntimeError("the stream asks for no decoding")
    return stream.request


def largest_power_of_two(count: int) -> int:
    """The largest that is not above `count`; 0 when there is none."""
    return 1 << count.bit_length() >> 1 if count > 0 else 0
