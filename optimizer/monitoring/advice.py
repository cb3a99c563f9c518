"""Advice on what only a person can change: which setting, or what on the machine, holds tasks up, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from config import Settings
from optimizer.common.text import in_gigabytes
from optimizer.devices.status import DeviceStatus
from optimizer.planning.plan import PlanLimits
from optimizer.queue.ready_queue import WaitingView
from optimizer.tasks.wait_reasons import WaitCode, WaitReason

MAX_GROUPS = 50
MANY_WAITING = 4
WORTH_SAYING_BYTES = 1_000_000_000
OTHERS_FRACTION = 0.10
NEARLY_FULL_DISK = 2.0  # times what uploads must leave free
NEARLY_FULL_QUEUE = 0.9
IDLE_OCCUPANCY = 0.7


@dataclass(frozen=True)
class Advice:
    code: str  # for programs and translations
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)  # the figures that `text` mentions

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code, "text": self.text, "data": dict(self.data)}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What advice is made from."""

    settings: Settings
    limits: PlanLimits
    statuses: Sequence[DeviceStatus]
    waiting: int  # tasks, whatever they wait for
    reasons: Sequence[tuple[str, int, WaitReason]]  # model, tasks that wait for it, why the first of them waits
    is_bound: bool  # whether the limit of concurrency holds tasks back now
    occupancy: float | None  # of the latest sample, 0 to 1; None before there is one
    free_disk_bytes: int  # where uploads are stored
    is_plain: bool  # the plain path is in use


def reasons_by_model(
    waiting: WaitingView, reason: Callable[[str], WaitReason | None]
) -> list[tuple[str, int, WaitReason]]:
    """`Situation.reasons`, from the first task of each group; of very many groups only the first ones."""
    found: dict[str, tuple[int, WaitReason]] = {}
    for group in waiting.groups[:MAX_GROUPS]:
        why = reason(group.tasks[0].id)
        if why is not None:
            count, first = found.get(group.key.model, (0, why))
            found[group.key.model] = (count + len(group.tasks), first)
    return [(model, count, why) for model, (count, why) in found.items()]


def advise(situation: Situation) -> list[Advice]:
    """The most pressing first."""
    return [
        *_unstable_devices(situation),
        *_disk(situation),
        *_blocked_models(situation),
        *_queue(situation),
        *_engine(situation),
        *_concurrency(situation),
        *_rounds(situation),
        *_other_programs(situation),
    ]


def _unstable_devices(situation: Situation) -> Iterator[Advice]:
    for status in situation.statuses:
        if status.is_unstable:
            name = status.spec.name
            text = f"{name} keeps failing: look for its last errors in the log."
            yield Advice("device_unstable", text, {"device": name})


def _disk(situation: Situation) -> Iterator[Advice]:
    free, kept_free = situation.free_disk_bytes, situation.settings.min_free_disk_bytes
    if free < NEARLY_FULL_DISK * kept_free:
        text = (
            f"The disk of DATA_DIR is nearly full: {in_gigabytes(free)} are free, and uploads are refused below"
            f" {in_gigabytes(kept_free)}. Delete tasks that are not needed any more."
        )
        yield Advice("disk_nearly_full", text, {"free_bytes": free, "kept_free_bytes": kept_free})


def _blocked_models(situation: Situation) -> Iterator[Advice]:
    """Tasks that wait for a person to do something."""
    for model, count, reason in situation.reasons:
        data = {**reason.data, "model": model, "count": count}
        if reason.code is WaitCode.TOO_BIG:
            text = (
                f"{_tasks(count)} for {model}, which fits on no device here: {_without_wait(reason.text)}."
                " Cancel them, or send them again with a smaller model."
            )
            yield Advice("model_too_big", text, data)
        elif reason.code is WaitCode.MODEL_MISSING:
            text = (
                f"{_tasks(count)} for {model}, whose weights are not here. Fetch them on the page, or put"
                f" {model}.pt into MODELS_DIR."
            )
            yield Advice("model_missing", text, data)
        elif reason.code is WaitCode.MODEL_LACKING:
            devices = reason.data["devices"]
            text = (
                f"{_tasks(count)} for {model}, whose weights are not available on {devices}. Put {model}.pt into"
                " MODELS_DIR there, or let that machine fetch them."
            )
            yield Advice("model_lacking", text, data)


def _queue(situation: Situation) -> Iterator[Advice]:
    limit = situation.settings.max_queued_tasks
    if situation.waiting >= NEARLY_FULL_QUEUE * limit:
        text = f"The queue is nearly full: {situation.waiting} of MAX_QUEUED_TASKS={limit} tasks wait."
        yield Advice("queue_nearly_full", text, {"waiting": situation.waiting, "limit": limit})


def _engine(situation: Situation) -> Iterator[Advice]:
    """Tasks run one at a time although many wait that could run together."""
    if situation.waiting < MANY_WAITING:
        return
    data = {"waiting": situation.waiting}
    if not situation.settings.enable_optimization_system:
        text = (
            f"Set ENABLE_OPTIMIZATION_SYSTEM=True: {_tasks(situation.waiting)}, and the plain path runs one at a time."
        )
        yield Advice("plain_path", text, data)
    elif situation.settings.engine == "reference" and not situation.is_plain:
        text = f"Set ENGINE=batch: {_tasks(situation.waiting)}, and the reference engine runs one at a time."
        yield Advice("reference_engine", text, data)


def _concurrency(situation: Situation) -> Iterator[Advice]:
    """Only where the limit is the highest that the settings allow: a lower one was chosen by the tuner."""
    settings, limits = situation.settings, situation.limits
    if settings.max_concurrent is None or limits.max_concurrent != settings.max_concurrent or not situation.is_bound:
        return
    free = [status for status in situation.statuses if status.has_place]
    roomiest = max(free, key=lambda status: status.memory.free, default=None)
    if roomiest is None or roomiest.memory.free < WORTH_SAYING_BYTES or situation.waiting < MANY_WAITING:
        return
    name, nbytes = roomiest.spec.name, roomiest.memory.free
    stand = f"{in_gigabytes(nbytes)} stand free on {name} and {_tasks(situation.waiting)}"
    yield Advice(
        "raise_concurrency",
        f"Raise MAX_CONCURRENT_TASKS_LIMIT: {stand}.",
        {"device": name, "free_bytes": nbytes, "waiting": situation.waiting, "limit": settings.max_concurrent},
    )


def _rounds(situation: Situation) -> Iterator[Advice]:
    """Where tasks are so short that rounds of MAX_BATCH_SIZE do not keep the devices busy."""
    limits, settings = situation.limits, situation.settings
    if (
        situation.occupancy is None
        or situation.occupancy >= IDLE_OCCUPANCY
        or limits.max_batch < settings.max_batch_size
    ):
        return
    waits_for_rounds = any(reason.code is WaitCode.TASKS_AHEAD for _, _, reason in situation.reasons)
    has_place = any(status.has_place for status in situation.statuses)
    if waits_for_rounds and has_place and not situation.is_bound and situation.waiting > 2 * limits.max_batch:
        text = (
            f"Raise MAX_BATCH_SIZE: {_tasks(situation.waiting)}, and only {situation.occupancy:.0%} of the places for"
            f" running tasks were taken, with {limits.max_batch} begun in one round."
        )
        data = {"waiting": situation.waiting, "occupancy": situation.occupancy, "max_batch_size": limits.max_batch}
        yield Advice("raise_batch", text, data)


def _other_programs(situation: Situation) -> Iterator[Advice]:
    is_short = any(reason.code is WaitCode.MEMORY_SHORT for _, _, reason in situation.reasons)
    for status in situation.statuses:
        others, total = status.memory.others, status.memory.total
        if is_short and others > OTHERS_FRACTION * total:
            name = status.spec.name
            taken = f"Other programs take {in_gigabytes(others)} of {name}"
            text = f"{taken}, and tasks wait for memory: close what is not needed."
            yield Advice("other_programs", text, {"device": name, "others_bytes": others})


def _tasks(count: int) -> str:
    return "1 task waits" if count == 1 else f"{count} tasks wait"


def _without_wait(text: str) -> str:
    return text.removeprefix("waits: ").removeprefix("cannot run here: ").partition(";")[0]
