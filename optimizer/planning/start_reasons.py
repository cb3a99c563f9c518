"""Works out what put a task before the others, once it has been chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from optimizer.planning.assignment import StartReason
from optimizer.planning.device_plan import DevicePlan
from optimizer.planning.draft import Draft
from optimizer.planning.inputs import ModelView, is_available
from optimizer.queue.ready_queue import Rank, RankedGroup, WaitingGroup, WaitingTask


class StartReasons:
    """ranked: every group, also those whose model is not here, in order."""

    def __init__(self, ranked: Sequence[RankedGroup], models: Mapping[str, ModelView], draft: Draft) -> None:
        self._ranked = ranked
        self._models = models
        self._draft = draft

    def reason(self, device: DevicePlan, task: WaitingTask, group: WaitingGroup) -> StartReason:
        """For a task of this group that is about to start, not yet in the draft."""
        rank = group.rank_of(task)
        before = [each for each in self._groups_before(rank) if self._has_waiting_before(each, rank)]
        if not before:
            return StartReason.SHORTEST if self._draft.count_passed(task) else StartReason.ARRIVAL
        keys = [each.key for each in before]
        could_run = any(is_available(self._models, key.model) and device.view.is_wanted_by(key.device) for key in keys)
        costs_a_load = any(key.model not in device.resident for key in keys)
        return StartReason.RESIDENT_MODEL if could_run and costs_a_load else StartReason.FITS

    def _groups_before(self, rank: Rank) -> Iterator[WaitingGroup]:
        """The groups whose first task ranks before that."""
        return (group for _, group in takewhile(lambda pair: pair[0] < rank, self._ranked))

    def _has_waiting_before(self, group: WaitingGroup, rank: Rank) -> bool:
        """Whether a task of the group that is not taken ranks before that."""
        first = next((task for task in group.tasks if task.id not in self._draft.taken), None)
        return first is not None and group.rank_of(first) < rank
