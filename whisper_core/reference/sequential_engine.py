"""SequentialEngine: the base of engines that run one task at a time, from its beginning to its end.

Not in engine.py, because the tests' fake engines build on it and must not import torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from errors import DeviceLostError
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.worker.engine_protocol import TaskObserver
from whisper_core.worker.messages import RunTask


class SequentialEngine(ABC):
    """Implements `start` and `advance` of engine_protocol.Engine with a subclass's `run`.

    `advance` takes as long as a whole task, because `run` cannot be interrupted: commands that arrive meanwhile wait.
    """

    slots = 1

    def __init__(self) -> None:
        self._waiting: deque[tuple[RunTask, TaskObserver]] = deque()

    @abstractmethod
    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        """The transcript; None when `should_stop` returned True, which is asked between two windows.

        Raises TaskError's subclasses.
        """

    @abstractmethod
    def task_peak_bytes(self) -> int:
        """Bytes that the latest `run` needed beyond what was in use when it began; 0 when they were not measured."""

    @property
    def is_busy(self) -> bool:
        return bool(self._waiting)

    def start(self, command: RunTask, observer: TaskObserver) -> None:
        self._waiting.append((command, observer))

    def advance(self) -> None:
        """Run the oldest task to its end. Raises DeviceLostError after every task was told `failed`."""
        if not self._waiting:
            return
        command, observer = self._waiting.popleft()

        def should_end() -> bool:
            return observer.should_stop() or observer.should_preempt()

        if should_end():
            observer.stopped()
            return
        try:
            transcript = self.run(command, observer.window, should_end)
        except DeviceLostError as error:
            for other in (observer, *(waiting for _, waiting in self._waiting)):
                other.failed(error)
            self._waiting.clear()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this task's, and the observer logs it
            observer.failed(error)
            return
        if transcript is None:
            observer.stopped()
        else:
            observer.done(transcript, self.task_peak_bytes())
