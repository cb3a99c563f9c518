"""Tells speakers apart in recordings whose text is there: one after the other, in a thread of its own.

Beside the windows of other tasks, so that none of them waits: the thread takes one core at most, and on Linux only what
they leave of it. A task is answered when its speakers are known, or why they cannot be; its text is never lost by that.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.text.turns import Turn
from whisper_core.worker import messages
from whisper_core.worker.messages import RunTask
from whisper_core.worker.outbox import TaskReporter, WorkerOutbox, as_public_error, is_usable

log = logging.getLogger(__name__)

NICENESS = 15  # more than that of a worker, so windows go first
PROGRESS_S = 1.0

OnProgress = Callable[[float], None]


class SpeakerFinder(Protocol):
    def find_speakers(self, command: RunTask, on_progress: OnProgress) -> tuple[Turn, ...]:
        """The turns in a task's recording. The desk's thread only.

        on_progress: to be told the share that is done, from 0 to 1, every few seconds at the latest; what it raises has
        to pass. Whatever else is raised is why the speakers of this task are not known.
        """


@dataclass(frozen=True)
class _Job:
    command: RunTask
    reporter: TaskReporter
    transcript: Transcript
    peak_bytes: int

    @property
    def should_end(self) -> bool:
        """Before it was begun nothing is lost by making way, either."""
        return self.reporter.should_stop() or self.reporter.should_preempt()


class SpeakerDesk:
    """`add` and `close` are called by the worker's thread."""

    def __init__(self, finder: SpeakerFinder, outbox: WorkerOutbox) -> None:
        self._finder = finder
        self._outbox = outbox
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self._told_at = 0.0

    def add(self, command: RunTask, reporter: TaskReporter, transcript: Transcript, peak_bytes: int) -> None:
        """The task's text is there, so its speakers are next. From now on the desk answers it."""
        with self._changed:
            self._jobs.append(_Job(command, reporter, transcript, peak_bytes))
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="speakers", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Returns when every task has been answered."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        if hasattr(os, "setpriority"):
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (job := self._next()) is not None:
            self._answer(job)

    def _next(self) -> _Job | None:
        """Waits for one. None: there will be none any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closing)
            return self._jobs.popleft() if self._jobs else None

    def _answer(self, job: _Job) -> None:
        if job.should_end:
            job.reporter.stopped()
            return
        self._told_at = 0.0
        try:
            turns = self._finder.find_speakers(job.command, lambda share: self._tell(job, share))
        except _StoppedError:
            job.reporter.stopped()
        except Exception as error:  # whatever it is, it concerns the speakers of this task and not its text
            public = as_public_error(error)
            log.warning("task=%s event=speakers_unknown code=%s", job.command.task_id, public.code, exc_info=error)
            job.reporter.done(job.transcript, job.peak_bytes, speakers_problem=public.message)
        else:
            job.reporter.done(replace(job.transcript, turns=turns), job.peak_bytes)

    def _tell(self, job: _Job, share: float) -> None:
        """Raises _StoppedError when the task should stop. Those that wait are told of, too: they are still there."""
        if job.reporter.should_stop():
            raise _StoppedError
        now = time.monotonic()
        if now - self._told_at < PROGRESS_S:
            return
        self._told_at = now
        self._send(job, share)
        with self._changed:
            ended = [other for other in self._jobs if other.should_end]
            self._jobs = deque(other for other in self._jobs if other not in ended)
            waiting = list(self._jobs)
        for other in ended:
            other.reporter.stopped()
        for other in waiting:
            self._send(other, 0.0)

    def _send(self, job: _Job, share: float) -> None:
        progress = min(1.0, max(0.0, share))
        self._outbox.send(messages.SpeakersProgress(job.command.task_id, job.command.attempt_id, progress))


class SpeakerStage:
    """The observer of a task whose speakers are wanted: its text goes to the desk, all else straight to the server. See
    engine_protocol.TaskObserver."""

    def __init__(self, command: RunTask, reporter: TaskReporter, desk: SpeakerDesk) -> None:
        self._command = command
        self._reporter = reporter
        self._desk = desk

    def window(self, window: WindowResult) -> None:
        self._reporter.window(window)

    def should_stop(self) -> bool:
        return self._reporter.should_stop()

    def should_preempt(self) -> bool:
        return self._reporter.should_preempt()

    def note(self, code: str, data: dict[str, int | float | str]) -> None:
        self._reporter.note(code, data)

    def done(self, transcript: Transcript, peak_bytes: int) -> None:
        if is_usable(transcript, peak_bytes):
            self._desk.add(self._command, self._reporter, transcript, peak_bytes)
        else:  # an engine may be somebody else's
            self._reporter.done(transcript, peak_bytes)

    def stopped(self) -> None:
        self._reporter.stopped()

    def failed(self, error: Exception) -> None:
        self._reporter.failed(error)


class _StoppedError(Exception):
    """The task was told to stop while its speakers were looked for."""
