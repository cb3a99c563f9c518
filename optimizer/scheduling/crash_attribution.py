"""Finds out which task makes a worker crash, without harming the others that ran on it.

A task that had finished a window in its attempt is hardly the cause of a crash. If only one task had not, that one is
charged. If several had not, any of them may be the cause: none is charged, and all become candidates. As long as a
candidate waits or is in its first window, a device gets at most one task at a time that has not finished a window yet.
So the next crash has one possible cause, and that task is charged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from optimizer.devices.status import RunningTask
from optimizer.queue.ready_queue import WaitingView


class CrashAttribution:
    """Belongs to the scheduler's thread."""

    def __init__(self) -> None:
        # A task that was cancelled, say, stays here for ever; since it neither waits nor runs, it changes nothing.
        self._candidates: set[str] = set()

    def attribute_crash(self, running: Iterable[RunningTask]) -> str | None:
        """The worker that ran these tasks has crashed. Returns the id of the one to charge.

        None when it could have been several tasks, or none of them.
        """
        ids = [each.task.id for each in running if not each.has_progressed]
        if len(ids) == 1:
            return ids[0]
        self._candidates.update(ids)
        return None

    def clear(self, task_id: str) -> None:
        """The task finished a window, or ended without a crash."""
        self._candidates.discard(task_id)

    def allowed_slots(self, slots: int, running: Mapping[str, RunningTask], waiting: WaitingView) -> int:
        """How many of a device's slots may be used now. running: the tasks that it has."""
        if not any(task_id in running or waiting.find(task_id) is not None for task_id in self._candidates):
            return slots
        has_newcomer = any(not each.has_progressed for each in running.values())
        return min(slots, len(running) + (0 if has_newcomer else 1))
