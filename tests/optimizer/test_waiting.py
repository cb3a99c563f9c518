"""What stands before a place in the queue."""

from __future__ import annotations

import pytest

from optimizer.task import Priority
from optimizer.waiting import WaitingTask, WaitingView

TASKS = [
    WaitingTask(id=f"T{seq}", seq=seq, model=model, priority=priority, audio_seconds=1.0, waiting_since=0.0)
    for seq, (model, priority) in enumerate(
        [(model, priority) for _ in range(3) for model in ("base", "tiny") for priority in Priority]
    )
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.id}-{task.priority.word}")
def test_ahead_of_a_place_are_higher_priorities_and_earlier_arrivals(task: WaitingTask) -> None:
    ahead = {each.id for each in WaitingView.of(TASKS).ahead_of(task.priority, task.seq)}
    assert ahead == {each.id for each in TASKS if (-each.priority, each.seq) < (-task.priority, task.seq)}
