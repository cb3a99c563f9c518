"""A small world for tests of the policy: models of round sizes, tasks and devices in one line each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optimizer.placement import DeviceKind, DeviceView, ModelView
from optimizer.policy import Plan, PlanLimits, plan
from optimizer.task import Priority
from optimizer.waiting import WaitingTask, WaitingView

GB = 1_000_000_000
WEIGHTS = {"tiny": 1 * GB, "base": 2 * GB, "medium": 5 * GB, "large": 10 * GB}
EVERY_MODEL = {model: ModelView(is_available=True) for model in WEIGHTS}


class RoundEstimates:
    """Weights as in WEIGHTS, a task a quarter of them and 1 MB a second of sound; word timestamps double it."""

    def weights_bytes(self, model: str, kind: DeviceKind) -> int:
        return WEIGHTS[model]

    def task_bytes(self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False) -> int:
        return (WEIGHTS[model] // 4 + int(audio_seconds * 1_000_000)) * (2 if word_timestamps else 1)


def task(seq: int, model: str = "base", priority: Priority = Priority.NORMAL, **fields: Any) -> WaitingTask:
    values = {"audio_seconds": 60.0, "waiting_since": 0.0, **fields}
    return WaitingTask(id=f"t{seq}", seq=seq, model=model, priority=priority, **values)


def device(name: str = "cuda:0", capacity: int = 20 * GB, **fields: Any) -> DeviceView:
    """running_tasks_bytes: promised to running tasks. others_bytes: used by other programs."""
    resident: Mapping[str, int] = {model: WEIGHTS[model] for model in fields.pop("resident", ())}
    promised = sum(resident.values()) + fields.pop("running_tasks_bytes", 0)
    free = max(0, capacity - promised - fields.pop("others_bytes", 0))
    kind: DeviceKind = "cpu" if name == "cpu" else "cuda"
    fields["running_models"] = frozenset(fields.get("running_models", ()))
    values = {"rounds": 1, **fields}
    return DeviceView(name=name, kind=kind, capacity_bytes=capacity, free_bytes=free, resident=resident, **values)


def decide(
    tasks: Iterable[WaitingTask],
    devices: Sequence[DeviceView],
    *,
    models: Mapping[str, ModelView] = EVERY_MODEL,
    now: float = 1.0,
    **limits: Any,
) -> Plan:
    return plan(WaitingView.of(tasks), devices, RoundEstimates(), models, PlanLimits(**limits), now)


def started(decision: Plan) -> list[tuple[str, str]]:
    """What a plan starts, and where."""
    return [(assignment.task_id, assignment.device) for assignment in decision.assignments]
