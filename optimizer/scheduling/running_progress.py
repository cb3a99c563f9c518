"""What is said of a running task's progress: how far it is, how fast it gets on, and when it will be done."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.scheduling.attempts import RunningAttempts, SpeakersShare
from optimizer.tasks.events import WindowFinished
from optimizer.tasks.task import Task, TaskStatus
from optimizer.timing.speeds import SpeedTable
from whisper_core.text.transcript import Segment

LEAST_SHARE = 0.02  # before that nothing is said of how long the rest will take


class RunningProgress:
    """Any thread."""

    def __init__(self, attempts: RunningAttempts, speeds: SpeedTable) -> None:
        self._attempts = attempts
        self._speeds = speeds

    def eta_seconds(self, model: str, device: str, audio_left_seconds: float) -> float | None:
        """Until so much sound is done beside what else the device has; None before the model was measured there."""
        return self._speeds.running_eta(model, device, audio_left_seconds, self._attempts.concurrency(device))

    def eta_of(self, task: Task) -> float | None:
        """Seconds until a running task is done; None for any other, or before its model was measured."""
        if task.status is not TaskStatus.PROCESSING or task.device is None:
            return None
        attempt = self._attempts.find_attempt(task.lease_token or "")
        if attempt is not None and attempt.speakers is not None:
            return _left_of(attempt.speakers)
        left = attempt.audio_left_seconds if attempt is not None else None
        return self.eta_seconds(task.options.model, task.device, task.audio_left_seconds if left is None else left)

    def speakers_of(self, task: Task) -> float | None:
        """How far it is with telling a running task's speakers apart, 0 to 1; None before its text is there."""
        attempt = self._attempts.find_attempt(task.lease_token or "")
        return None if attempt is None or attempt.speakers is None else attempt.speakers.share

    def window_finished(self, task: Task, first_segment: int, segments: Sequence[Segment]) -> WindowFinished:
        """The event that brings new segments. task: as it now is. first_segment: how many there were before these."""
        return WindowFinished(
            task_id=task.id,
            seq=task.windows_done,
            progress=task.progress,
            audio_done_seconds=(task.audio_seconds or 0.0) * task.progress,
            speed=self._speeds.speed(task.options.model, task.device or ""),
            eta_seconds=self.eta_of(task),
            first_segment=first_segment,
            segments=tuple(segments),
        )


def _left_of(speakers: SpeakersShare) -> float | None:
    """Seconds, as it went so far; None while it waits or has hardly begun."""
    if speakers.share < LEAST_SHARE:
        return None
    return (speakers.at - speakers.begun_at) * (1 - speakers.share) / speakers.share
