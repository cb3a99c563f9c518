"""SequentialEngine: what an engine needs that runs one task at a time, from its beginning to its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from errors import DeviceLostError
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.worker.engine_protocol import TaskObserver
from whisper_core.worker.messages import RunTask


class SequentialEngine(ABC):
    """`begin` and `advance` of engine_protocol.Engine, over a subclass' `run`.

    `advance` takes as long as a whole task, since `run` cannot be left: commands that come meanwhile wait.
    """

    slots = 1

    def __init__(self) -> None:
        self._begun: deque[tuple[RunTask, TaskObserver]] = deque()

    @abstractmethod
    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        """Transcribe; None when `should_stop` said so, which is asked where nothing of a window would be lost.

        Raises TaskError's subclasses.
        """

    @abstractmethod
    def task_peak_bytes(self) -> int:
        """Memory that the latest `run` needed beyond what was in use when it began; 0 when it was not measured."""

    @property
    def is_busy(self) -> bool:
        return bool(self._begun)

    def begin(self, command: RunTask, watch: TaskObserver) -> None:
        self._begun.append((command, watch))

    def advance(self) -> None:
        """Runs the oldest task to its end. Raises DeviceLostError after every task was told."""
        if not self._begun:
            return
        command, watch = self._begun.popleft()

        def should_end() -> bool:
            return watch.should_stop() or watch.should_preempt()

        if should_end():
            watch.stopped()
            return
        try:
            transcript = self.run(command, watch.window, should_end)
        except DeviceLostError as error:
            for other in (watch, *(waiting for _, waiting in self._begun)):
                other.failed(error)
            self._begun.clear()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this task's, and the watch logs it
            watch.failed(error)
            return
        if transcript is None:
            watch.stopped()
        else:
            watch.done(transcript, self.task_peak_bytes())
