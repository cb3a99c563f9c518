"""An engine that does what a task's prompt says. In a module of its own, for processes that import it by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from errors import DeviceLostError, ModelUnavailableError
from tests.fake_engine import FakeEngine
from whisper_core.text.transcript import Checkpoint, Transcript, WindowResult
from whisper_core.worker.messages import RunTask


class ScriptedEngine(FakeEngine):
    """Does what a task's prompt says: `fail`, `lose` (the device), `endless` (windows until it has to stop)."""

    def __init__(self, device: str, cpu_threads: int) -> None:
        if device == "broken":
            raise RuntimeError("no such device")
        super().__init__(device, cpu_threads)
        self.title = f"{device} with {cpu_threads} threads"

    def load(self, model: str, models_dir: Path, slots: int = 0) -> int:
        if model == "absent":
            raise ModelUnavailableError("Put absent.pt into the models folder.")
        return super().load(model, models_dir, slots)

    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        match command.options.initial_prompt:
            case "fail":
                raise IndexError("what torch said")
            case "lose":
                raise DeviceLostError
            case "endless":
                for index in range(1_000_000):
                    on_window(WindowResult(index, (), Checkpoint("en", index, 1)))
                    self._hold.wait(0.01)
                    if should_stop():
                        return None
        return super().run(command, on_window, should_stop)
