"""Says of every decision, in words and figures, what it was and why; so that it can be answered for afterwards."""

from __future__ import annotations

from optimizer.common.text import duration
from optimizer.monitoring.event_log import EventLog
from optimizer.planning.device_plan import Assignment, StartReason
from optimizer.planning.preemption import Preemption
from optimizer.queue.ready_queue import WaitingTask

_REASONS = {
    StartReason.ARRIVAL: "it was next in order of arrival",
    StartReason.SHORTEST: "it had the least work left",
    StartReason.STARVING: "it was due first and others had passed it for too long",
    StartReason.TOGETHER: "its model had the round and there was room for one more",
    StartReason.RESIDENT_MODEL: (
        "its model was loaded, and loading another one for those before it would have cost more"
    ),
    StartReason.FITS: "what those before it need was not there",
}


class DecisionLog:
    """Any thread."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    def started(self, assignment: Assignment, task: WaitingTask, now: float) -> None:
        """now: monotonic seconds."""
        waited_s = max(0.0, now - task.waiting_since)
        text = f"Started on {assignment.device} with {assignment.model} after {duration(waited_s)}: "
        text += _REASONS[assignment.why]
        if assignment.passed:
            text += f"; {assignment.passed} that came before it {'waits' if assignment.passed == 1 else 'wait'} on"
        if assignment.weights_bytes:
            text += "; its model is loaded for it"
        if assignment.evict:
            text += f", in the place of {', '.join(assignment.evict)}"
        self._event_log.add(
            "decision",
            text + ".",
            task_id=assignment.task_id,
            device=assignment.device,
            model=assignment.model,
            priority=task.priority.word,
            waited_seconds=round(waited_s, 3),
            passed=assignment.passed,
            why=assignment.why.value,
            load_model=assignment.weights_bytes > 0,
            evict=list(assignment.evict),
            due_in_seconds=round(task.due - now, 1),
        )

    def preempted(self, step: Preemption) -> None:
        self._event_log.add(
            "decision",
            f"A long task on {step.device} steps aside at its next window for one that is shorter or more urgent.",
            task_id=step.task_id,
            for_task=step.for_task,
            device=step.device,
            why="steps_aside",
        )

    def idle_model_leaves(self, model: str, device: str, idle_s: float) -> None:
        self._event_log.add(
            "model",
            f"{model} leaves {device}: nobody has asked for it for {duration(idle_s)}.",
            model=model,
            device=device,
            idle_seconds=round(idle_s, 1),
        )
