"""A decision takes no longer because many tasks wait."""

from __future__ import annotations

import time

from optimizer.planning.plan import PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.ready_queue import WaitingIndex
from optimizer.tasks.task import Priority
from tests.optimizer.planning.helpers import EVERY_MODEL, TIMES, RoundEstimates, device, task


def test_a_decision_over_a_hundred_thousand_tasks_takes_milliseconds() -> None:
    """Bounded generously for a shared machine: the target is 10 ms, a walk over every task takes several hundred."""
    index = WaitingIndex()
    models = ("tiny", "base", "medium", "large")
    for seq in range(100_000):
        index.add(task(seq, models[seq % 4], Priority(seq % 3), audio_seconds=float(seq % 997)))
    view = index.view()
    devices = [device("cuda:0", rounds=2), device("cuda:1")]
    durations = []
    for _ in range(5):
        begin = time.perf_counter()
        decision = plan(view, devices, RoundEstimates(), TIMES, EVERY_MODEL, PlanLimits(), now=10.0)
        durations.append(time.perf_counter() - begin)
    assert len(decision.assignments) == 2
    assert min(durations) < 0.05
