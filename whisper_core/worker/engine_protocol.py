"""What a device's worker asks of the engine that it hosts, and what the engine tells it of each task."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.worker.messages import MemoryReport, RunTask


class TaskObserver(Protocol):
    """How an engine tells about one task. Called from the worker's thread only.

    Every begun task ends by exactly one of `done`, `stopped` and `failed`.
    """

    def window(self, window: WindowResult) -> None:
        """A window is finished; what is reported is never done again."""

    def should_stop(self) -> bool:
        """Whether the task is to end early. Cheap: asked between decoding steps."""

    def should_preempt(self) -> bool:
        """Whether the task is to end, by `stopped`, where nothing of it is lost: as soon as no window of it is at work.
        Cheap, as `should_stop`, which goes before it."""

    def note(self, code: str, data: dict[str, int | float | str]) -> None:
        """Something that happened to the task, for its timeline; see protocol.TaskNote. It goes on."""

    def done(self, transcript: Transcript, peak_bytes: int) -> None:
        """peak_bytes: the engine's growth beyond its idle use, divided by the most tasks that ran at the same time;
        0 when it was not measured."""

    def stopped(self) -> None:
        """Ended because `should_stop` said so, perhaps in the middle of a window, which is then done again later; or
        because `should_preempt` did."""

    def failed(self, error: Exception) -> None: ...


class Engine(Protocol):
    """Models on one device, and the transcribing with them.

    Made by a factory called as (device, cpu_threads), with device `cpu` or `cuda:<n>` and 0 threads for one per core.
    All methods but `memory` are called from one thread. DeviceLostError out of any of them means that the process must
    end; the tasks were told `failed` before. After any other error the engine can go on.
    """

    title: str
    """The device's name for people."""

    slots: int
    """Tasks that it can run at the same time; more are not sent to it."""

    def load(self, model: str, models_dir: Path) -> int:
        """Make a model resident; returns its bytes, 0 when it was resident. May be called while tasks run.

        Raises TaskError's subclasses.
        """

    def unload(self, model: str) -> None:
        """Give a model's memory back; harmless when it is not resident."""

    def begin(self, command: RunTask, watch: TaskObserver) -> None:
        """Take a task on. Returns soon; the task's own faults go to `watch.failed`."""

    @property
    def is_busy(self) -> bool:
        """Whether a task has been begun and has not ended."""

    def advance(self) -> None:
        """A bounded piece of work, well under a second, for the tasks that are here; calls their watches."""

    def memory(self) -> MemoryReport:
        """Any thread, at any time."""
