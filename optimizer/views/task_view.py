"""What the web package is shown of a task: its row together with what only the running scheduler knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from optimizer.tasks.search_hit import SearchHit
from optimizer.tasks.task import Task
from optimizer.tasks.wait_reasons import WaitReason
from optimizer.timing.forecast_accuracy import Interval


@dataclass(frozen=True)
class TaskView:
    """A task at one moment."""

    task: Task
    position: int | None = None  # of a waiting task, from 1
    waiting_reason: WaitReason | None = None  # why it does not run yet
    speakers_progress: float | None = None  # 0 to 1, of telling them apart; None before the text is there
    eta_seconds: float | None = None  # until it is finished; None before there is a measurement
    expected: Interval | None = None  # of a waiting task: when it will begin and end
    media_end: datetime | None = None  # of a finished one: when its recording will be removed; None: it will not be
    text_end: datetime | None = None  # when it will be deleted
    hit: SearchHit | None = None  # where a search found it


@dataclass(frozen=True)
class Submission:
    task: TaskView
    is_replay: bool  # an earlier request with the same Idempotency-Key had made the task already
    duplicate_of: str | None = None  # the owner's latest earlier task of the same file, unless it failed
