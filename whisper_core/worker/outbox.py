"""What a worker tells the server: the sending half of the pipe, and the reports of one task."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from multiprocessing.connection import Connection

from errors import EngineError, TranscriptionServerError
from whisper_core.text.transcript import Segment, Transcript, WindowResult
from whisper_core.worker import messages
from whisper_core.worker.inbox import WorkerInbox
from whisper_core.worker.messages import Report, RunTask, WrittenSegments

log = logging.getLogger(__name__)

DETAIL_CHARACTERS = 8000  # of a traceback, whose end says most


class WorkerOutbox:
    """Any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, report: Report, written: WrittenSegments | None = None) -> None:
        """Does nothing when the server is gone: the thread that reads the pipe notices that and ends the worker.

        written: see messages.encode.
        """
        data = messages.encode(report, written)
        try:
            with self._lock:
                self._connection.send_bytes(data)
        except OSError:
            log.debug("event=report_undelivered type=%s", type(report).__name__)


class TaskReporter:
    """Turns what the engine tells about one task into reports. See engine_protocol.TaskObserver."""

    def __init__(self, command: RunTask, inbox: WorkerInbox, outbox: WorkerOutbox) -> None:
        self._task_id = command.task_id
        self._attempt_id = command.attempt_id
        self._inbox = inbox
        self._outbox = outbox
        self._written = WrittenSegments()
        self._started_at = time.perf_counter()

    def window(self, window: WindowResult) -> None:
        self._outbox.send(messages.WindowDone(self._task_id, self._attempt_id, window), self._written)

    def should_stop(self) -> bool:
        return self._inbox.should_stop(self._attempt_id)

    def should_preempt(self) -> bool:
        return self._inbox.should_preempt(self._attempt_id)

    def note(self, code: str, data: dict[str, int | float | str]) -> None:
        self._outbox.send(messages.TaskNote(self._task_id, self._attempt_id, code, data))

    def done(self, transcript: Transcript, peak_bytes: int, *, speakers_problem: str = "") -> None:
        seconds = time.perf_counter() - self._started_at
        if not is_usable(transcript, peak_bytes):
            self.failed(EngineError("The engine ended the task without a transcript."))
            return
        self._send_last(
            messages.TaskDone(self._task_id, self._attempt_id, transcript, peak_bytes, seconds, speakers_problem)
        )

    def stopped(self) -> None:
        self._send_last(messages.TaskStopped(self._task_id, self._attempt_id))

    def failed(self, error: Exception) -> None:
        public = as_public_error(error)
        log.warning("task=%s event=task_failed code=%s", self._task_id, public.code, exc_info=error)
        detail = "".join(traceback.format_exception(error))[-DETAIL_CHARACTERS:]
        self._send_last(messages.TaskFailed(self._task_id, self._attempt_id, public.code, public.message, detail))

    def _send_last(self, report: Report) -> None:
        self._outbox.send(report, self._written)
        self._inbox.remove_task(self._attempt_id)


def is_usable(transcript: object, peak_bytes: object) -> bool:
    """Whether it can be sent: an engine may be somebody else's."""
    return (
        isinstance(transcript, Transcript)
        and isinstance(transcript.text, str)
        and isinstance(transcript.language, str)
        and all(isinstance(segment, Segment) for segment in transcript.segments)
        and isinstance(peak_bytes, int)
    )


def as_public_error(error: Exception) -> TranscriptionServerError:
    """An error whose code and message may be shown: `error` itself where it is one of ours, else EngineError."""
    return error if isinstance(error, TranscriptionServerError) else EngineError()
