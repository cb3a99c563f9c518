"""How long finished tasks keep their recording, and how long they are kept at all.

Nothing is removed sooner than NOTICE after a rule came into force, so that everybody could see when it will be.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from optimizer.tasks.task import Task

NOTICE = timedelta(days=1)


@dataclass(frozen=True)
class Rule:
    days: int
    since: datetime  # when it came into force

    @property
    def acts_from(self) -> datetime:
        return self.since + NOTICE

    def end_of(self, finished_at: datetime) -> datetime:
        """When what was finished then is removed."""
        return max(finished_at + timedelta(days=self.days), self.acts_from)


@dataclass(frozen=True)
class RetentionRules:
    """None: kept for ever."""

    media: Rule | None = None
    text: Rule | None = None  # of the whole task

    def media_end(self, task: Task) -> datetime | None:
        """When its recording will be removed, alone or with the task; None when it will not, or is gone already."""
        if task.media_removed_at is not None or not is_finished(task):
            return None
        ends = [end for end in (_end(self.media, task), self.text_end(task)) if end is not None]
        return min(ends, default=None)

    def text_end(self, task: Task) -> datetime | None:
        """When the task will be deleted with its text."""
        return _end(self.text, task) if is_finished(task) else None


def is_finished(task: Task) -> bool:
    return task.status.is_final and task.finished_at is not None


def _end(rule: Rule | None, task: Task) -> datetime | None:
    return None if rule is None or task.finished_at is None else rule.end_of(task.finished_at)
