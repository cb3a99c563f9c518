"""How long a decision takes while many tasks wait: the real queue in memory, the real plan, tasks coming and going."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from benchmarks.scheduling.world import KIND, Service
from optimizer.common.kinds import AUTO_DEVICE
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.planning.inputs import DeviceView, ModelView
from optimizer.planning.plan import PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.index import QueueIndex
from optimizer.queue.loaded_tasks import LoadedTasks
from optimizer.queue.ordering import DueTimes
from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.task import Priority, Task, TaskOptions, TaskStatus

OWNERS = 20
SLOTS = 16
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class _Times:
    def __init__(self, service: Service) -> None:
        self.work_seconds = service.work_seconds
        self.load_seconds = service.load_seconds.__getitem__


def decision_seconds(service: Service, waiting: int, decisions: int = 500, seed: int = 1) -> list[float]:
    """Wall-clock seconds of each decision, including the copy of what changed in the queue.

    Between two decisions the chosen tasks leave the queue and as many others arrive.
    """
    rng = random.Random(seed)
    due_times = DueTimes(service.work_seconds)
    queue = QueueIndex(due_times)
    numbers = iter(range(10**9))
    queue.load(
        LoadedTasks(ready=[_waiting(next(numbers), rng, service, due_times) for _ in range(waiting)]),
        dict.fromkeys(TaskStatus, 0),
    )
    gc.freeze()  # as the server does once it has loaded its queue
    estimates, times, limits = MemoryEstimationPool(1.2), _Times(service), PlanLimits(max_concurrent=None, max_batch=4)
    models = {model: ModelView(is_available=True) for model in service.speeds}
    seconds = []
    for number in range(decisions):
        now = float(number)
        begin = time.perf_counter()
        view = queue.ready(now)
        decision = plan(view, list(_devices(service, number)), estimates, times, models, limits, now)
        seconds.append(time.perf_counter() - begin)
        for assignment in decision.assignments:
            gone = view.find(assignment.task_id)
            if gone is not None:
                _replace(queue, gone, _waiting(next(numbers), rng, service, due_times), now)
    return seconds


def _devices(service: Service, number: int) -> Iterator[DeviceView]:
    """Two with free slots, one of which may have to load a model."""
    for name, models in (("cuda:0", list(service.speeds)), ("cuda:1", list(service.speeds)[:1])):
        yield DeviceView(
            name=name, kind=KIND, capacity_bytes=20_000_000_000, free_bytes=10_000_000_000, slots=SLOTS, rounds=number,
            resident=dict.fromkeys(models, 1_000_000_000),
        )  # fmt: skip


def _waiting(seq: int, rng: random.Random, service: Service, due_times: DueTimes) -> WaitingTask:
    model, audio = rng.choice(list(service.speeds)), rng.lognormvariate(5.0, 1.0)
    return WaitingTask(
        id=f"t{seq}", seq=seq, model=model, priority=rng.choice(list(Priority)), audio_seconds=audio,
        audio_left_seconds=audio, waiting_since=0.0, due=due_times.due(model, audio, rng.uniform(-3600, 0)),
        owner=f"owner{rng.randrange(OWNERS)}",
    )  # fmt: skip


def _replace(queue: QueueIndex, gone: WaitingTask, new: WaitingTask, now: float) -> None:
    for each, status, before in ((gone, TaskStatus.PROCESSING, TaskStatus.PENDING), (new, TaskStatus.PENDING, None)):
        task = Task(
            id=each.id, seq=int(each.seq), filename="", status=status, options=TaskOptions(model=each.model),
            priority=each.priority, requested_device=AUTO_DEVICE, size_bytes=0, sha256="", created_at=_EPOCH,
            max_attempts=4, audio_seconds=each.audio_seconds, owner=each.owner,
        )  # fmt: skip
        with queue.changing(task.id):
            queue.follow(task, before=before, now=now, arrived=now, delay_end=None)
