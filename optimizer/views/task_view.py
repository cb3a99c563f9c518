"""What the web room is shown of a task: its row together with what only the running scheduler knows."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.tasks.task import Task
from optimizer.tasks.wait_reasons import WaitReason
from optimizer.timing.forecast_accuracy import Interval


@dataclass(frozen=True)
class TaskView:
    """A task at one moment.

    position: from 1 among those that wait, None for others. waiting_reason: why it does not run yet.
    eta_seconds: until it is finished, None when there is nothing to tell it from. expected: of a waiting task, when it
    will begin and end.
    """

    task: Task
    position: int | None = None
    waiting_reason: WaitReason | None = None
    eta_seconds: float | None = None
    expected: Interval | None = None


@dataclass(frozen=True)
class Submission:
    """is_replay: an earlier request with the same Idempotency-Key had made the task already."""

    task: TaskView
    is_replay: bool
