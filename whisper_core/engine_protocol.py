"""What a device's worker asks of the engine that it hosts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from whisper_core.protocol import MemoryReport, RunTask
from whisper_core.transcript import Transcript, WindowResult


class Engine(Protocol):
    """Models on one device, and the transcribing with them.

    Made by a factory called as (device, cpu_threads), with device `cpu` or `cuda:<n>` and 0 threads for one per core.
    All methods but `memory` are called from one thread.
    """

    title: str
    """The device's name for people."""

    def load(self, model: str, models_dir: Path) -> int:
        """Make a model resident; returns its bytes, 0 when it was resident. Raises TaskError's subclasses."""

    def unload(self, model: str) -> None:
        """Give a model's memory back; harmless when it is not resident."""

    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        """Transcribe; None when `should_stop` said so at a window boundary. Raises TaskError's subclasses.

        DeviceLostError means that the process must end; after any other error the engine can go on.
        """

    def memory(self) -> MemoryReport:
        """Any thread, at any time."""

    def task_peak_bytes(self) -> int:
        """Memory that the latest task needed beyond what was in use when it began, so far."""
