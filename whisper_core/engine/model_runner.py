"""ModelRunner: one resident model at work. What its streams ask for is encoded, given a slot, decoded and answered.

A stream's way: `start` runs it up to its first request. An Encode puts it into the WindowPipeline; the EncodeStage
encodes its window and has the StreamDriver send it the answer; a Decode makes it wait for a slot; the DecodeStage
decodes the window and has the StreamDriver send the result, until the stream ends. MemoryRecovery surrounds every piece
of work and, when memory runs out, puts all windows back to the beginning of the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from errors import OutOfMemoryError
from whisper_core.engine.active_task import ActiveStream, ActiveTask
from whisper_core.engine.decode_stage import DecodeStage
from whisper_core.engine.decoding.search import slot_kinds
from whisper_core.engine.encode_stage import EncodeStage
from whisper_core.engine.executors import SerialExecutor
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.memory_recovery import MemoryRecovery
from whisper_core.engine.pipeline import WindowPipeline
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.engine.statistics import EngineStatistics
from whisper_core.engine.step_threads import StepThreads
from whisper_core.engine.stream_driver import StreamDriver
from whisper_core.engine.window_memory import window_memory_for
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker.device_errors import guarded


class ModelRunner:
    """limit: how many windows may be in flight. free_elsewhere: see MemoryRecovery; it is given this runner.

    The engine's thread only. A task's own errors end that task; DeviceLostError is raised.
    """

    def __init__(
        self,
        model: LoadedModel,
        encoder_executor: SerialExecutor,
        limit: SlotLimit,
        statistics: EngineStatistics,
        free_elsewhere: Callable[[ModelRunner], bool],
    ) -> None:
        self.model = model
        self.step_threads = StepThreads()
        self._limit = limit
        self._encoder_executor = encoder_executor
        self._memory = memory = window_memory_for(model, limit)
        self._pipeline = pipeline = WindowPipeline(memory, limit)
        self._recovery = recovery = MemoryRecovery(pipeline, limit, lambda: free_elsewhere(self))
        self._driver = driver = StreamDriver(model, recovery)
        self._encode_stage = EncodeStage(model, memory, pipeline, driver, recovery, encoder_executor)
        self._decode_stage = DecodeStage(model, pipeline, driver, recovery, limit, statistics)

    def prepare(self) -> None:
        """Take what is kept for as long as the model is resident. Raises OutOfMemoryError when not even one window
        finds memory; else there are as many slots as there is room for."""
        while True:
            try:
                guarded(lambda: self._memory.prepare(self._encoder_executor.run))
                return
            except OutOfMemoryError:
                self._memory.release()
                if not self._limit.lower():
                    raise

    @property
    def num_to_encode(self) -> int:
        """Windows that may be encoded now."""
        return self._pipeline.num_to_encode

    @property
    def num_encoding(self) -> int:
        """Windows in the encoder."""
        return self._pipeline.num_encoding

    @property
    def num_decoding(self) -> int:
        """Windows in slots."""
        return self._pipeline.num_decoding

    @property
    def num_in_flight(self) -> int:
        """Windows that take memory, or are about to."""
        return self._pipeline.num_in_flight

    @property
    def encoding_s(self) -> float:
        """Seconds that the latest encoding took; infinite before the first."""
        return self._encode_stage.latest_seconds

    def is_working_on(self, task: ActiveTask) -> bool:
        """Whether work would be lost if the task ended now."""
        return self._pipeline.is_working_on(task)

    def start(self, stream: ActiveStream) -> None:
        self._driver.advance_stream(stream, None)
        self._pipeline.enqueue(stream)

    def submit_encoding(self) -> None:
        """Give the encoder's thread the next windows."""
        self._encode_stage.submit()

    def encode_inline(self) -> None:
        """Encode the next windows in this thread, while the encoder's thread is busy with others."""
        self._encode_stage.run_inline()

    def fill_free_slots(self) -> None:
        """Put encoded windows into slots."""
        self._decode_stage.fill_free_slots()

    def step(self) -> None:
        """One token for every window in a slot. Answers those that have finished and refills their slots."""
        self._decode_stage.step()
        if self._memory.is_small:  # there had been too little memory, a while ago
            self._recovery.start_over()

    def drop_done(self) -> None:
        """Remove the windows of tasks that have ended."""
        self._pipeline.drop_done()

    def keep_slots_for(self, options: Iterable[TranscribeOptions]) -> bool:
        """After a task has ended: free the slots that no other one needs. Returns whether there were such.

        They would outlive the memory that was reserved for them. options: of the tasks that the model still has.
        """
        self._pipeline.drop_done()
        return self._pipeline.release_unused_slots({kind for each in options for kind in slot_kinds(each)})

    def release(self) -> None:
        """Give all memory of windows back. No task may be left."""
        self._pipeline.release_slots()

    def shrink(self) -> None:
        """Decode half as many windows at a time, for another model's sake. Only with more than one in flight."""
        self._recovery.shrink()

    def release_unused_slots(self) -> bool:
        """Free the memory of slots if none of a slot batch's is in use. Returns whether there were such."""
        return self._pipeline.release_all_unused()

    def on_idle(self) -> bool:
        """The engine has no task: free the slots' memory, unless it is kept, and allow as many windows as at the
        beginning. Returns whether any was freed."""
        self._pipeline.drop_done()
        self._limit.reset()
        if self._memory.is_small:
            return self._pipeline.release_all_unused()
        return self._pipeline.release_unused_slots()
