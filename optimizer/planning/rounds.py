"""Which tasks start together: one round of a device has one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, takewhile

from optimizer.planning.device_plan import DevicePlan, Fit
from optimizer.planning.draft import Draft
from optimizer.planning.fairness import Fairness
from optimizer.planning.plan import PlanLimits
from optimizer.planning.ranking import Ranking
from optimizer.queue.ready_queue import WaitingGroup, WaitingTask, in_order
from optimizer.tasks.start_reason import StartReason

LOOK_AHEAD = 256  # tasks that a decision looks at when the first ones do not fit

Candidate = tuple[WaitingTask, WaitingGroup]


def fitting(
    candidates: Iterable[Candidate], fit_of: Callable[[WaitingTask], Fit]
) -> Iterator[tuple[WaitingTask, WaitingGroup, Fit]]:
    """Those of the first LOOK_AHEAD candidates that fit, each with its group and how it fits. They have one model.

    Asked for one at a time, so that `fit_of` knows what was started in between. Where a recording does not fit, no
    longer one will, so most of those that do not fit are not even tried.
    """
    shortest_misses: dict[tuple[bool, int, bool], float] = {}  # seconds of sound, by word_timestamps, beams, speakers
    for task, group in islice(candidates, LOOK_AHEAD):
        kind = task.word_timestamps, task.beams, task.speakers
        if task.audio_seconds >= shortest_misses.get(kind, float("inf")):
            continue
        fit = fit_of(task)
        if fit.missing_bytes > 0:
            shortest_misses[kind] = task.audio_seconds
        else:
            yield task, group, fit


class Rounds:
    """Forms the rounds of one decision. now: monotonic seconds."""

    def __init__(self, draft: Draft, ranking: Ranking, fairness: Fairness, limits: PlanLimits, now: float) -> None:
        self._draft = draft
        self._ranking = ranking
        self._fairness = fairness
        self._limits = limits
        self._now = now

    def start(self, device: DevicePlan, first: WaitingTask, fit: Fit, why: StartReason) -> None:
        """Starts `first` and, with it, the next tasks of its model that fit; then the device's round is over."""
        self._draft.start(device, first, fit, why)
        others = in_order(self._ranking.groups_of_model(device, first.model))
        candidates = ((task, group) for task, group in others if self._ranking.is_candidate(device, task))
        offered = takewhile(lambda _: self._has_place(device, first.model), candidates)
        for task, group, fit in fitting(offered, device.fit):
            if self._fairness.is_held_back(device, task, group):
                break  # so would be those behind it
            self._draft.start(device, task, fit, StartReason.TOGETHER)
        device.is_closed = True

    def is_worth_waiting_for(self, device: DevicePlan, first: WaitingTask) -> bool:
        """Whether a busy device should wait for more free slots, so that min_batch tasks of the model start together.

        Not for ever: meanwhile tasks of other models take the slots that become free.
        """
        limits = self._limits
        if device.is_idle or self._draft.is_below_minimum or self._now - first.due >= limits.starvation_s:
            return False
        wanted = min(limits.min_batch, limits.max_batch, self._draft.most_running, device.slots_of(first.model))
        startable = min(device.slots_left, self._draft.room)
        if startable >= wanted:
            return False
        groups = (group for _, group in self._ranking.groups_of_model(device, first.model))
        tasks = chain.from_iterable(self._ranking.candidates(device, group) for group in groups)
        return sum(1 for _ in islice(tasks, wanted)) >= wanted

    def _has_place(self, device: DevicePlan, model: str) -> bool:
        """Whether one more task may start on the device in this round, which has this model."""
        is_device_full = device.slots_left <= 0 or not device.has_slot(model)
        return device.started < self._limits.max_batch and self._draft.room > 0 and not is_device_full
