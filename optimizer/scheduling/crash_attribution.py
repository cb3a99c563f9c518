"""Which tasks may have killed a worker that ran several, and how to find out without harming the others.

When a worker dies, the tasks that had got further in that attempt are hardly why. Of several that had not, any may be:
none is charged, all are suspects. From then on a device takes at most one task at a time that has not finished a window
yet, for as long as a suspect waits or tries. So the next death has one cause, and that one is charged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from optimizer.devices.status import RunningTask
from optimizer.queue.ready_queue import WaitingView


class CrashAttribution:
    """Belongs to the scheduler's thread. A task that ends in another way than by `clear` leaves its id here: it is
    neither waiting nor running, so it changes nothing."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def attribute_crash(self, running: Iterable[RunningTask]) -> str | None:
        """The worker that ran these is dead. The one task that must be charged for it; None when it could be several,
        or none of them."""
        ids = [each.task.id for each in running if not each.has_progressed]
        if len(ids) == 1:
            return ids[0]
        self._ids.update(ids)
        return None

    def clear(self, task_id: str) -> None:
        """The task finished a window or ended without harm."""
        self._ids.discard(task_id)

    def slots(self, slots: int, running: Mapping[str, RunningTask], waiting: WaitingView) -> int:
        """How many tasks a device with so many slots may have now."""
        if not any(task_id in running or waiting.find(task_id) is not None for task_id in self._ids):
            return slots
        is_trying = any(not each.has_progressed for each in running.values())
        return min(slots, len(running) + (0 if is_trying else 1))
