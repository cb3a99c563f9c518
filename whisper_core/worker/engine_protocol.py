"""What a device's worker needs from the engine that it hosts, and what the engine tells it about each task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.worker.messages import MemoryReport, RunTask


class TaskObserver(Protocol):
    """Told by an engine about one task. Called from the worker's thread only.

    For every task that was begun, exactly one of `done`, `stopped` and `failed` is called, last.
    """

    def window(self, window: WindowResult) -> None:
        """A window is finished. A reported window is never decoded again."""

    def should_stop(self) -> bool:
        """Whether the task should end early. Cheap, because it is asked between decoding steps."""

    def should_preempt(self) -> bool:
        """Whether the task should end, with `stopped`, as soon as none of its windows is being worked on, so that no
        work is lost. As cheap as `should_stop`, which takes precedence."""

    def note(self, code: str, data: dict[str, int | float | str]) -> None:
        """Something that happened to the task, for its timeline; see messages.TaskNote. The task goes on."""

    def done(self, transcript: Transcript, peak_bytes: int) -> None:
        """peak_bytes: the engine's growth beyond its idle use, divided by the largest number of tasks that ran at the
        same time; 0 when it was not measured."""

    def stopped(self) -> None:
        """Ended because of `should_preempt` or `should_stop`. An unfinished window is decoded again later."""

    def failed(self, error: Exception) -> None: ...


class Engine(Protocol):
    """Loads models on one device and transcribes with them.

    Made by a factory called as (device, cpu_threads), with device `cpu` or `cuda:<n>` and 0 threads for one per core.
    All methods except `memory` are called from one thread. A DeviceLostError from any of them means that the process
    must end; `failed` has been called for its tasks before. After any other error the engine can continue.

    The speakers of a task are told apart beside the engine, which knows nothing of it, unless it has the method
    `find_speakers` of speaker_desk.SpeakerFinder. It may also be a StopsWatcher.
    """

    title: str
    """The device's name for people."""

    slots: int
    """Tasks that it can run at the same time; it is never given more."""

    def load(self, model: str, models_dir: Path) -> int:
        """Makes a model resident and returns its bytes, 0 when it was resident already. Tasks may be running.

        Raises subclasses of TaskError.
        """

    def unload(self, model: str) -> None:
        """Frees a model's memory. Does nothing when the model is not resident."""

    def start(self, command: RunTask, observer: TaskObserver) -> None:
        """Starts a task and returns soon. Faults of the task itself are reported to `observer.failed`."""

    @property
    def is_busy(self) -> bool:
        """Whether a started task has not ended yet."""

    def advance(self) -> None:
        """Does a bounded piece of work, well under a second, for the started tasks. Calls their observers."""

    def memory(self) -> MemoryReport:
        """Any thread, at any time."""


class SlotHoldingEngine(Engine, Protocol):
    """One whose models hold their slots on a GPU from load on; its EngineSpec says so (`holds_slots`)."""

    def load(self, model: str, models_dir: Path, slots: int = 0) -> int:
        """slots: how many windows of the model are decoded at a time, at most; memory is reserved for so many and what
        belongs to them until it is unloaded. 0: as many as the engine has. Otherwise as Engine.load."""


@runtime_checkable
class StopsWatcher(Protocol):
    """What an engine may be besides: one that need not ask all tasks between two steps whether they should end.

    With 64 tasks that takes a tenth of the host's time for a step.
    """

    def watch_stops(self, num_stops: Callable[[], int]) -> None:
        """Called once, before the first task.

        num_stops: as cheap as `should_stop`. The number grows after `should_stop` or `should_preempt` of any started
        task has become true, and both stay true. So an engine that reads the number first and then asks, misses none.
        """
