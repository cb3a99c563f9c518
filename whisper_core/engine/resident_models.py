"""The models on a device, each with its runner, and the memory that they free for each other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

from errors import OutOfMemoryError
from whisper_core.engine.executors import SerialExecutor
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.model_runner import ModelRunner
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.engine.statistics import EngineStatistics
from whisper_core.worker.device_errors import free_memory, guarded

log = logging.getLogger(__name__)

T = TypeVar("T")


class ResidentModels:
    """slots, encoder_batch: of each model at most. encoder_executor: shared by all of them."""

    def __init__(
        self, encoder_executor: SerialExecutor, statistics: EngineStatistics, slots: int, encoder_batch: int
    ) -> None:
        self._encoder_executor = encoder_executor
        self._statistics = statistics
        self._slots = slots
        self._encoder_batch = encoder_batch
        self._runners: dict[str, ModelRunner] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._runners

    def __getitem__(self, name: str) -> ModelRunner:
        return self._runners[name]

    def __iter__(self) -> Iterator[ModelRunner]:
        return iter(self._runners.values())

    def load(self, name: str, read: Callable[[], LoadedModel], slots: int = 0) -> LoadedModel:
        """The model that `read` returns, with a runner from now on. Raises TaskError's subclasses.

        slots: of this model at most; 0: as many as any may have. No more windows are encoded together than it has.
        When memory runs out, it is tried once more after the others' unused slots were freed.
        """
        model = self._with_room(read)
        most = min(slots or self._slots, self._slots)
        limit = SlotLimit(most, min(self._encoder_batch, most))
        runner = ModelRunner(model, self._encoder_executor, limit, self._statistics, self.free_memory_elsewhere)
        try:
            self._with_room(runner.prepare)
        except BaseException:
            runner.release()
            raise
        self._runners[name] = runner
        return model

    def unload(self, name: str) -> None:
        runner = self._runners.pop(name, None)
        if runner is not None:
            runner.release()

    def next_to_encode(self) -> ModelRunner | None:
        """A runner that has windows to encode; those that have take turns."""
        for name, runner in self._runners.items():
            if runner.num_to_encode:
                self._runners[name] = self._runners.pop(name)  # to the end of the queue
                return runner
        return None

    def free_memory_elsewhere(self, runner: ModelRunner | None = None) -> bool:
        """Have other models than `runner`, or all, free memory for one window or recording. Returns whether one did.

        First slots that are not in use; then the largest batch is halved, which costs a second decoding of its windows.
        """
        if self._release_unused_slots(runner):
            return True
        others = (other for other in self if other is not runner)
        largest = max(others, key=lambda other: other.num_in_flight, default=None)
        if largest is None or largest.num_in_flight <= 1:
            return False
        largest.shrink()
        return True

    def _with_room(self, work: Callable[[], T]) -> T:
        failure: OutOfMemoryError
        try:
            return guarded(work)
        except OutOfMemoryError as error:
            failure = error
        if not self._release_unused_slots():
            raise failure
        free_memory()
        return guarded(work)

    def _release_unused_slots(self, spared: ModelRunner | None = None) -> bool:
        """Whether a model other than `spared` had any."""
        released = [
            name for name, runner in self._runners.items() if runner is not spared and runner.release_unused_slots()
        ]
        if released:
            log.warning("event=unused_slots_released models=%s: out of memory", ",".join(released))
        return bool(released)
