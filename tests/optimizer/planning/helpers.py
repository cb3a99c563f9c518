"""A small world for tests of the planner: models of round sizes, tasks and devices in one line each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optimizer.common.kinds import DeviceKind
from optimizer.planning.inputs import DeviceView, Estimates, ModelView, RunningView
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.ordering import DueTimes
from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from optimizer.tasks.task import Priority
from optimizer.tasks.wait_reasons import WaitReason

GB = 1_000_000_000
WEIGHTS = {"tiny": 1 * GB, "base": 2 * GB, "medium": 5 * GB, "large": 10 * GB}
LOW, NORMAL, HIGH = Priority.LOW, Priority.NORMAL, Priority.HIGH
MODELS = sorted(WEIGHTS)
EVERY_MODEL = {model: ModelView(is_available=True) for model in WEIGHTS}


class RoundEstimates:
    """Weights as in WEIGHTS, a task a quarter of them and 1 MB a second of sound; word timestamps double it.

    A beam is 1 GB.
    """

    def weights_bytes(self, model: str, kind: DeviceKind, slots: int = 1) -> int:
        return WEIGHTS[model] + self.held_bytes(model, kind, slots)

    def held_bytes(self, model: str, kind: DeviceKind, slots: int) -> int:
        return 0

    def task_bytes(
        self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False, beams: int = 0
    ) -> int:
        plain = (WEIGHTS[model] // 4 + int(audio_seconds * 1_000_000)) * (2 if word_timestamps else 1)
        return plain + beams * GB

    def speakers_bytes(self, kind: DeviceKind, audio_seconds: float) -> int:
        return GB


class HoldingEstimates(RoundEstimates):
    """On a GPU each slot holds a twentieth of the weights, and a task takes a hundredth of them: half of them more with
    word timestamps, and a beam is 1 GB."""

    def task_bytes(
        self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False, beams: int = 0
    ) -> int:
        if kind == "cpu":
            return super().task_bytes(model, kind, audio_seconds, word_timestamps, beams)
        return WEIGHTS[model] // 100 + (WEIGHTS[model] // 2 if word_timestamps else 0) + beams * GB

    def held_bytes(self, model: str, kind: DeviceKind, slots: int) -> int:
        return (slots or 64) * (WEIGHTS[model] // 20) if kind == "cuda" else 0


class RoundTimes:
    """A minute of sound is 0.6 s of work for each GB of the model, and loading it half a second for each."""

    def work_seconds(self, model: str, audio_seconds: float) -> float:
        return audio_seconds / 100 * WEIGHTS[model] / GB

    def load_seconds(self, model: str) -> float:
        return WEIGHTS[model] / GB / 2


ESTIMATES = RoundEstimates()
HOLDING = HoldingEstimates()
TIMES = RoundTimes()
DUE_TIMES = DueTimes(TIMES.work_seconds)


def task(seq: int, model: str = "base", priority: Priority = Priority.NORMAL, **fields: Any) -> WaitingTask:
    """due: by DUE_TIMES unless given."""
    values: dict[str, Any] = {"audio_seconds": 60.0, "waiting_since": 0.0, **fields}
    values.setdefault("audio_left_seconds", values["audio_seconds"])
    values.setdefault("due", DUE_TIMES.due(model, values["audio_left_seconds"], values["waiting_since"]))
    return WaitingTask(id=f"t{seq}", seq=seq, model=model, priority=priority, **values)


def running_task(name: str = "r0", model: str = "base", **fields: Any) -> RunningView:
    """One that could be preempted; due long ago."""
    values: dict[str, Any] = {"priority": Priority.NORMAL, "audio_left_seconds": 60.0, "due": 0.0, "task_bytes": GB}
    values |= {"may_be_preempted": True, **fields}
    return RunningView(id=name, model=model, **values)


def device(name: str = "cuda:0", capacity: int = 20 * GB, **fields: Any) -> DeviceView:
    """running: how many tasks, of running_models in turn (of `base` when none is named), or RunningViews.
    running_tasks_bytes: reserved for them. others_bytes: used by other programs. model_slots: that resident models
    hold, by HOLDING."""
    slots = fields.get("model_slots", {})
    resident: Mapping[str, int] = {
        model: WEIGHTS[model] + (HOLDING.held_bytes(model, "cuda", slots[model]) if model in slots else 0)
        for model in fields.pop("resident", ())
    }
    running_bytes = fields.pop("running_tasks_bytes", 0)
    reserved = sum(resident.values()) + running_bytes
    free = max(0, capacity - reserved - fields.pop("others_bytes", 0))
    kind: DeviceKind = "cpu" if name == "cpu" else "cuda"
    models = sorted(fields.pop("running_models", ())) or ["base"]
    running = fields.pop("running", 0)
    if isinstance(running, int):
        each = {"task_bytes": running_bytes // running} if running else {}
        running = tuple(running_task(f"r{number}", models[number % len(models)], **each) for number in range(running))
    values = {"rounds": 1, **fields}
    return DeviceView(
        name=name, kind=kind, capacity_bytes=capacity, free_bytes=free, resident=resident, running=running, **values
    )


def decide(
    tasks: Iterable[WaitingTask],
    devices: Sequence[DeviceView],
    *,
    models: Mapping[str, ModelView] = EVERY_MODEL,
    now: float = 1.0,
    penalties: Mapping[str, float] | None = None,
    estimates: Estimates = ESTIMATES,
    **limits: Any,
) -> Plan:
    """penalties: seconds by which owners' tasks rank later."""
    view = WaitingIndex.of(tasks).view(penalties)
    return plan(view, devices, estimates, TIMES, models, PlanLimits(**limits), now)


def reasons(decision: Plan) -> dict[str, WaitReason]:
    """Why each task that stays waiting does, in their order."""
    told = ((each.id, decision.reason_for(each.id)) for each in decision.waiting.in_order())
    return {task_id: reason for task_id, reason in told if reason is not None}


def started(decision: Plan) -> list[tuple[str, str]]:
    """What a plan starts, and where."""
    return [(assignment.task_id, assignment.device) for assignment in decision.assignments]
