"""Finds out which task makes a worker or the server die, without harming the others that ran at the time.

A task that had finished a window in its attempt is hardly the cause of a death. If only one task had not, the death is
counted against that one. If several had not, any of them may be the cause: it is counted against none, and all become
candidates. As long as a candidate waits or is in its first window, at most one task at a time runs that has not
finished a window yet: on each device after a worker's death, on all of them together after the server's. So the next
death has one possible cause.

After the server's death, candidates against which deaths were counted let the others go first: many deaths from outside
then hit different tasks, and one that kills the server has only itself left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from optimizer.common.clock import Clock
from optimizer.devices.status import RunningTask
from optimizer.queue.ready_queue import WaitingView

LETS_OTHERS_FIRST_S = 600.0  # at most, because another candidate may wait for what never comes


class CrashAttribution:
    """Belongs to the scheduler's thread; `suspect_of_server` before that is started."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # A task that was cancelled, say, stays here for ever; since it neither waits nor runs, it changes nothing.
        self._candidates: set[str] = set()
        self._server_suspects: dict[str, int] = {}  # candidates of the server's death, and the deaths counted
        self._lets_others_first_until = 0.0  # monotonic seconds

    def suspect_of_server(self, suspects: Mapping[str, int]) -> None:
        """One of these made the earlier server die, if a task did. suspects: ids, and the deaths counted so far."""
        self._server_suspects = dict(suspects)
        self._lets_others_first_until = self._clock.monotonic() + LETS_OTHERS_FIRST_S

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
        self._server_suspects.pop(task_id, None)

    @property
    def suspects_any(self) -> bool:
        """Whether a task may have made the server die. Otherwise `may_start` is true, whatever runs and waits."""
        return bool(self._server_suspects)

    def allowed_slots(self, slots: int, running: Mapping[str, RunningTask], waiting: WaitingView) -> int:
        """How many of a device's slots may be used now. running: the tasks that it has."""
        candidates = chain(self._candidates, self._server_suspects)
        if not any(task_id in running or waiting.find(task_id) is not None for task_id in candidates):
            return slots
        has_newcomer = any(not each.has_progressed for each in running.values())
        return min(slots, len(running) + (0 if has_newcomer else 1))

    def may_start(self, running: Iterable[RunningTask], waiting: WaitingView) -> bool:
        """Whether one more task may start anywhere. running: the tasks of all devices."""
        newcomers = [each.task.id for each in running if not each.has_progressed]
        if not newcomers:
            return True
        is_suspect_about = any(
            task_id in newcomers or waiting.find(task_id) is not None for task_id in self._server_suspects
        )
        return not is_suspect_about

    def held_back(self, running: Iterable[RunningTask], waiting: WaitingView) -> set[str]:
        """Waiting suspects of the server's death that let less suspicious ones go first. running: of all devices."""
        if not self._server_suspects or self._clock.monotonic() > self._lets_others_first_until:
            return set()
        newcomers = {each.task.id for each in running if not each.has_progressed}
        waiting_ids = {task_id for task_id in self._server_suspects if waiting.find(task_id) is not None}
        deaths = [self._server_suspects[task_id] for task_id in waiting_ids | (newcomers & set(self._server_suspects))]
        return {task_id for task_id in waiting_ids if self._server_suspects[task_id] > min(deaths)}
