"""What is done when memory runs out: a model decodes fewer windows at a time, or others free memory for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from errors import DeviceLostError, OutOfMemoryError
from whisper_core.engine.active_task import ActiveStream
from whisper_core.engine.pipeline import WindowPipeline
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.worker.device_errors import free_memory, guarded

log = logging.getLogger(__name__)

T = TypeVar("T")


class MemoryRecovery:
    """Runs one model's work so that no task fails for lack of memory while there is memory that can be given up.

    free_elsewhere: has other models give memory back, and returns whether they did. Asked only when memory is short for
    a single window.
    """

    def __init__(self, pipeline: WindowPipeline, limit: SlotLimit, free_elsewhere: Callable[[], bool]) -> None:
        self._pipeline = pipeline
        self._limit = limit
        self._free_elsewhere = free_elsewhere

    def attempt(self, work: Callable[[], T], streams: Sequence[ActiveStream]) -> T | None:
        """The result of `work`, or None when it failed.

        When memory ran out, every window of the model is queued again, so `work` comes up again by itself. Any other
        error ends the tasks of `streams`, for which the work was done. Raises DeviceLostError.
        """
        failure: OutOfMemoryError
        try:
            return guarded(work)
        except OutOfMemoryError as error:
            failure = error
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends these tasks only
            for stream in streams:
                stream.task.fail(error)
            return None
        self._handle_out_of_memory(streams, failure)
        return None

    def shrink(self) -> None:
        """Decode half as many windows at a time, for another model's sake. Only with more than one in flight."""
        affected = self._pipeline.take_back()
        self._halve(affected, self._in_flight(affected))
        self._encode_again(affected)

    def start_over(self) -> None:
        """Decode all windows again, in as many slots as are allowed by now."""
        self._encode_again(self._pipeline.take_back())

    def _handle_out_of_memory(self, streams: Sequence[ActiveStream], failure: OutOfMemoryError) -> None:
        """With several windows in flight, go on with half as many. With one, others free memory, or its task fails."""
        affected = self._pipeline.take_back()
        affected += [stream for stream in streams if stream not in affected]
        in_flight = self._in_flight(affected)
        if in_flight > 1:
            self._halve(affected, in_flight)
        elif not self._free_elsewhere():
            for stream in affected:
                stream.task.fail(failure)
        self._encode_again(affected)
        free_memory()

    def _in_flight(self, affected: list[ActiveStream]) -> int:
        """These, and those in the encoder."""
        return len({*affected, *self._pipeline.encoding})

    def _halve(self, affected: list[ActiveStream], in_flight: int) -> None:
        self._limit.shrink(in_flight)
        slots = self._limit.slots
        log.warning("event=batch_shrunk slots=%d: out of memory with %d windows", slots, in_flight)
        for task in dict.fromkeys(stream.task for stream in affected):
            if not task.is_done:
                task.report_shrunk_batch(in_flight, slots)

    def _encode_again(self, affected: list[ActiveStream]) -> None:
        """Their windows are encoded and decoded from the beginning, with the same result."""
        for stream in affected:
            if stream.window is not None:
                stream.window.evict()
                self._pipeline.enqueue(stream)
