"""The attempts that workers have at the moment, and what is remembered of each between two windows."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.common.clock import Clock
from optimizer.memory.busy_periods import BusyPeriods
from optimizer.memory.costs import ConcurrentTasks
from optimizer.tasks.task import Task
from whisper_core.worker import messages as protocol


@dataclass(frozen=True)
class SpeakersShare:
    """How far it is with telling the speakers of a task apart."""

    share: float  # 0 to 1
    at: float  # monotonic seconds
    begun_at: float  # when it was first told of


@dataclass
class RunningAttempt:
    """One attempt of a task. Changed by its device's reader thread, except for preempted_by."""

    task: Task  # as it was claimed
    audio_done_seconds: float
    segment_count: int
    measured_at: float  # monotonic seconds: when the next measurement of its speed begins
    measured_audio_seconds: float  # and how much of the recording was decoded by then
    audio_left_seconds: float | None = None  # to be decoded, as its latest window said; None before its first
    preempted_by: str | None = None  # the task that it was told to make way for
    speakers: SpeakersShare | None = None  # None before its text is there
    ran_together: ConcurrentTasks | None = None  # set at its end: it and what ran with it, where all were of one kind

    @property
    def device(self) -> str:
        return self.task.device or ""

    @property
    def model(self) -> str:
        return self.task.options.model


@dataclass(frozen=True)
class AttemptReport:
    report: protocol.Report
    attempt: RunningAttempt | None  # the one that the report is about, where it is known


class RunningAttempts:
    """By id, which is the lease token of their claim. Any thread; an attempt begins and ends once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._attempts: dict[str, RunningAttempt] = {}
        self._busy_periods = BusyPeriods()

    def track(self, task: Task, segment_count: int) -> None:
        """Before the claimed task is handed over. segment_count: segments that earlier attempts brought."""
        audio_done = (task.audio_seconds or 0.0) * task.progress
        token, options = task.lease_token or "", task.options
        kind = (
            options.model, options.word_timestamps, options.mode, options.beams, options.vad_filter, options.speakers
        )  # fmt: skip
        reserved = task.estimated_bytes or 0
        self._busy_periods.begin(task.device or "", token, kind, task.audio_seconds or 0.0, reserved)
        self._attempts[token] = RunningAttempt(task, audio_done, segment_count, self._clock.monotonic(), audio_done)

    def untrack(self, attempt_id: str) -> RunningAttempt | None:
        """The attempt is over. None, and nothing changed, when it is not here."""
        attempt = self._attempts.pop(attempt_id, None)
        if attempt is not None:
            attempt.ran_together = self._busy_periods.end(attempt.device, attempt_id)
        return attempt

    def find_attempt(self, attempt_id: str) -> RunningAttempt | None:
        return self._attempts.get(attempt_id)

    def mark_preempted(self, attempt_id: str, for_task: str) -> None:
        """The attempt was told to end at its next window, to make way for that task."""
        if (attempt := self._attempts.get(attempt_id)) is not None:
            attempt.preempted_by = for_task

    def follow_speakers(self, attempt: RunningAttempt, share: float) -> None:
        """The attempt's text is there, and this share of telling its speakers apart is done."""
        now = self._clock.monotonic()
        begun_at = now if not share or attempt.speakers is None else attempt.speakers.begun_at
        attempt.speakers = SpeakersShare(share, now, begun_at)

    def on_device(self, device: str) -> list[RunningAttempt]:
        return [attempt for attempt in list(self._attempts.values()) if attempt.device == device]

    def concurrency(self, device: str) -> int:
        """How many tasks the device has; at least 1."""
        return max(1, len(self.on_device(device)))
