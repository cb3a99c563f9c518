"""A discrete-event simulation around the real queue, planner and memory ledger; only devices and clock are simulated.

It answers in minutes what would take months of recordings.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from heapq import heappop, heappush

from benchmarks.scheduling.event_calendar import Calendar
from benchmarks.scheduling.outcome import Outcome, TaskOutcome
from benchmarks.scheduling.traces import Arrival
from benchmarks.scheduling.virtual_device import ROUNDING_S, Running, VirtualDevice
from benchmarks.scheduling.world import KIND, Scheme, Service, World
from optimizer.common.kinds import AUTO_DEVICE
from optimizer.memory.costs import ConcurrentTasks
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.formula import costs_formula, weights_formula, workspace_formula
from optimizer.memory.ledger import GPUMemoryPool, Reservation, model_owner
from optimizer.planning.fifo import plan_in_order
from optimizer.planning.inputs import DeviceView, LateViews, ModelView, RunningBrief, RunningView
from optimizer.planning.plan import Plan, PlanLimits
from optimizer.planning.planner import plan
from optimizer.queue.index import QueueIndex
from optimizer.queue.ordering import FIRST_COME, DueTimes
from optimizer.queue.ready_queue import WaitingView
from optimizer.tasks.task import Priority, Task, TaskOptions, TaskStatus
from whisper_core.common.units import WINDOW_SECONDS
from whisper_core.models.catalogue import model_info

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class _Times:
    def __init__(self, service: Service) -> None:
        self._service = service

    def work_seconds(self, model: str, audio_seconds: float) -> float:
        return self._service.work_seconds(model, audio_seconds)

    def load_seconds(self, model: str) -> float:
        return self._service.load_seconds[model]


@dataclass
class SimulatedDevice:
    engine: VirtualDevice
    pool: GPUMemoryPool
    resident: dict[str, Reservation] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    real_bytes: dict[str, int] = field(default_factory=dict)
    rounds: int = 0

    @property
    def used_bytes(self) -> int:
        return sum(self.real_bytes.values())


class Simulation:
    """One run; `run` once."""

    def __init__(
        self, scheme: Scheme, service: Service, world: World, *, seed: int = 1, round_interval_s: float = 0.0
    ) -> None:
        """round_interval_s: virtual seconds from one planning round to the next, at least; what happens in between is
        planned for together."""
        self._scheme = scheme
        self._service = service
        self._world = world
        self._rng = random.Random(seed)
        self._times = _Times(service)
        self._due_times = DueTimes(service.work_seconds) if scheme.order_by_work and not scheme.plain else FIRST_COME
        self._queue = QueueIndex(self._due_times)
        self._estimates = MemoryEstimationPool(1.2)
        self._models = {model: ModelView(is_available=True) for model in service.speeds}
        total = world.capacity_bytes + world.headroom_bytes
        self._devices = {
            f"d{number}": SimulatedDevice(
                VirtualDevice(f"d{number}", scheme.slots, scheme.gain),
                GPUMemoryPool(f"d{number}", total, headroom_bytes=world.headroom_bytes),
            )
            for number in range(world.devices)
        }
        self._limits = PlanLimits(
            max_concurrent=None, max_batch=scheme.max_batch, preempts=scheme.preempts and not scheme.plain
        )
        self._tasks: dict[str, Task] = {}
        self._outcomes: dict[str, TaskOutcome] = {}
        self._oldest: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)  # waiting tasks of each owner, a heap
        self._ends, self._first_windows = Calendar(), Calendar()  # when each device has to be looked at again
        self._round_interval_s = round_interval_s
        self._last_round_at = float("-inf")
        self._is_changed = False  # since the last round
        self._waiting = 0
        self._now = 0.0
        self.outcome = Outcome(scheme.name)

    def run(self, trace: Iterable[Arrival]) -> Outcome:
        coming = _numbered(trace)
        next_arrival = next(coming, None)
        while next_arrival is not None or self._tasks:
            self._now = self._next_moment(next_arrival[1].at if next_arrival is not None else float("inf"))
            while next_arrival is not None and next_arrival[1].at <= self._now:
                self._arrive(*next_arrival)
                next_arrival = next(coming, None)
            self._collect_due()
            if self._is_changed and self._now >= self._last_round_at + self._round_interval_s:
                self._is_changed = False
                self._last_round_at = self._now
                self._decide()
        self._advance_all()
        self.outcome.finish(self._now, self.engines)
        return self.outcome

    @property
    def engines(self) -> list[VirtualDevice]:
        return [device.engine for device in self._devices.values()]

    def _next_moment(self, next_arrival: float) -> float:
        """When something happens next, or the next round is due."""
        at = min(next_arrival, self._ends.next_time())
        if self._may_preempt:
            at = min(at, self._first_windows.next_time())
        if self._is_changed:
            at = min(at, self._last_round_at + self._round_interval_s)
        return max(self._now, at)

    @property
    def _may_preempt(self) -> bool:
        return self._waiting > 0 and self._limits.preempts

    def _collect_due(self) -> None:
        due = set(self._ends.pop_due(self._now))
        if self._may_preempt:
            due.update(self._first_windows.pop_due(self._now))
        for name in sorted(due):
            device = self._devices[name]
            self._advance(device)
            self._collect(device)
            self._look_again(device)
        self._is_changed |= bool(due)

    def _look_again(self, device: SimulatedDevice) -> None:
        """Its tasks or its speed have changed, and so the times at which it has to be looked at."""
        name = device.engine.name
        self._ends.set(name, device.engine.next_end())
        self._first_windows.set(name, self._first_window(device))

    def _advance_all(self) -> None:
        for device in self._devices.values():
            self._advance(device)

    def _advance(self, device: SimulatedDevice) -> None:
        self.outcome.count_memory(self._now - device.engine.now, device.used_bytes, device.pool.snapshot().reserved)
        device.engine.advance(self._now)

    def _first_window(self, device: SimulatedDevice) -> float:
        """When the next task there finishes its first window, so that it may make way."""
        if not self._limits.preempts:
            return float("inf")
        engine = device.engine
        windows = {each: self._window_work(each) for each in engine.running}
        times = (engine.reaches(each, work) for each, work in windows.items() if not self._has_progressed(device, each))
        return min(times, default=float("inf"))

    def _window_work(self, task_id: str) -> float:
        return self._service.work_seconds(self._tasks[task_id].options.model, WINDOW_SECONDS)

    def _has_progressed(self, device: SimulatedDevice, task_id: str) -> bool:
        return device.engine.done(task_id) >= self._window_work(task_id) - ROUNDING_S

    def _arrive(self, seq: int, arrival: Arrival) -> None:
        task = Task(
            id=f"t{seq}", seq=seq, filename="", status=TaskStatus.PENDING, options=TaskOptions(model=arrival.model),
            priority=Priority.NORMAL, requested_device=AUTO_DEVICE, size_bytes=0, sha256="", created_at=_EPOCH,
            max_attempts=4, audio_seconds=arrival.audio_seconds, owner=arrival.owner,
        )  # fmt: skip
        work = self._service.work_seconds(arrival.model, arrival.audio_seconds)
        self._outcomes[task.id] = TaskOutcome(arrival.at, work)
        heappush(self._oldest[task.owner], (seq, task.id))
        self._change(None, task)
        self._is_changed = True

    def _change(self, before: TaskStatus | None, task: Task) -> None:
        """What a transaction does in the server: the task's new state, which the queue's index follows."""
        self._tasks[task.id] = task
        self._waiting += (task.status is TaskStatus.PENDING) - (before is TaskStatus.PENDING)
        arrived = self._outcomes[task.id].arrived
        with self._queue.changing(task.id):
            self._queue.follow(task, before=before, now=self._now, arrived=arrived, delay_end=None)

    def _collect(self, device: SimulatedDevice) -> None:
        """Takes back tasks that have ended or were preempted."""
        while (ended := device.engine.pop_ended()) is not None:
            task = self._tasks[ended.task_id]
            self._measure(device, task)
            del device.real_bytes[task.id]
            device.reservations.pop(task.id).release()
            if ended.is_ending and ended.ends < ended.begun + ended.work - ROUNDING_S:
                self._requeue(task, ended)
                continue
            self._change(TaskStatus.PROCESSING, task.with_(status=TaskStatus.COMPLETED, version=task.version + 1))
            del self._tasks[task.id]
            self.outcome.ended(self._outcomes.pop(task.id), self._now)

    def _requeue(self, task: Task, ended: Running) -> None:
        """It waits again, with less left."""
        left = (1 - task.progress) * (1 - (ended.ends - ended.begun) / ended.work)
        waiting = task.with_(status=TaskStatus.PENDING, progress=1 - left, version=task.version + 1)
        heappush(self._oldest[task.owner], (task.seq, task.id))
        self.outcome.stepped_aside += 1
        self._change(TaskStatus.PROCESSING, waiting)

    def _measure(self, device: SimulatedDevice, task: Task) -> None:
        """Feeds back what the worker would report: how far the running tasks of that model made memory grow."""
        self.outcome.measured += 1
        if self.outcome.measured > self._world.measured_all and self.outcome.measured % self._world.measured_every:
            return
        model = task.options.model
        together = [task, *(self._tasks[each] for each in device.engine.running)]
        together = [each for each in together if each.options.model == model]
        growth = workspace_formula(model_info(model), KIND) + sum(device.real_bytes[each.id] for each in together)
        concurrent = ConcurrentTasks.of([each.audio_seconds or 0.0 for each in together])
        self._estimates.record(model, KIND, concurrent, peak_bytes=growth // concurrent.tasks)

    def _decide(self) -> None:
        if not self._waiting:
            return
        self._advance_all()
        begin = time.thread_time()
        decision = self._plan()
        self.outcome.decisions.append(time.thread_time() - begin)
        started: Counter[str] = Counter()
        for assignment in decision.assignments:
            device = self._devices[assignment.device]
            for model in assignment.evict:
                device.resident.pop(model).release()
                del device.real_bytes[model_owner(model)]
            if assignment.weights_bytes:
                self._load(device, assignment.model, assignment.weights_bytes)
            self._start(device, assignment.task_id, assignment.task_bytes)
            started[assignment.device] += 1
        for name in started:
            self._devices[name].rounds += 1
            self._look_again(self._devices[name])
        for step in decision.preemptions:
            device = self._devices[step.device]
            device.engine.preempt(step.task_id, self._window_work(step.task_id))
            self._look_again(device)
        if decision.assignments:
            self._decide()  # a round has one model; the next round follows at once

    def _plan(self) -> Plan:
        waiting = self._queue.ready(self._now)
        views = [self._view(name, device, waiting) for name, device in self._devices.items()]
        if self._scheme.plain:
            return plan_in_order(waiting, views, self._estimates, self._models)
        return plan(waiting, views, self._estimates, self._times, self._models, self._limits, self._now)

    def _view(self, name: str, device: SimulatedDevice, waiting: WaitingView) -> DeviceView:
        memory = device.pool.snapshot()
        return DeviceView(
            name=name,
            kind=KIND,
            capacity_bytes=memory.capacity,
            free_bytes=memory.free,
            slots=device.engine.slots,
            rounds=device.rounds,
            resident=memory.models,
            running=LateViews(
                len(device.engine.running),
                partial(self._briefs, device),
                partial(self._running_views, device, waiting),
            ),
        )

    def _briefs(self, device: SimulatedDevice) -> list[RunningBrief]:
        return [self._brief(device, running) for running in device.engine.running.values()]

    def _brief(self, device: SimulatedDevice, running: Running) -> RunningBrief:
        task = self._tasks[running.task_id]
        left = task.audio_left_seconds * (1 - device.engine.done(task.id) / running.work)
        return RunningBrief(task.options.model, left, running.is_ending)

    def _running_views(self, device: SimulatedDevice, waiting: WaitingView) -> list[RunningView]:
        return [self._running_view(device, running, waiting) for running in device.engine.running.values()]

    def _running_view(self, device: SimulatedDevice, running: Running, waiting: WaitingView) -> RunningView:
        task = self._tasks[running.task_id]
        left = self._brief(device, running).audio_left_seconds
        return RunningView(
            id=task.id,
            model=task.options.model,
            priority=task.priority,
            audio_left_seconds=left,
            due=self._due_times.due(task.options.model, left, self._outcomes[task.id].arrived),
            owner=task.owner,
            penalty=waiting.requeued_penalty(task.owner, self._due_times.work_seconds(task.options.model, left)),
            task_bytes=device.reservations[task.id].nbytes,
            may_be_preempted=self._has_progressed(device, task.id),
            is_ending=running.is_ending,
        )

    def _load(self, device: SimulatedDevice, model: str, nbytes: int) -> None:
        reservation = device.pool.try_reserve(model_owner(model), nbytes)
        if reservation is None:
            raise RuntimeError(f"the plan assigned {nbytes} bytes for {model} that are not there")
        device.resident[model] = reservation
        device.real_bytes[model_owner(model)] = weights_formula(model_info(model), KIND) + workspace_formula(
            model_info(model), KIND
        )
        device.engine.load(self._service.load_seconds[model])

    def _start(self, device: SimulatedDevice, task_id: str, nbytes: int) -> None:
        reservation = device.pool.try_reserve(task_id, nbytes)
        if reservation is None:
            raise RuntimeError(f"the plan assigned {nbytes} bytes for {task_id} that are not there")
        task = self._tasks[task_id]
        device.reservations[task_id] = reservation
        formula = costs_formula(model_info(task.options.model), KIND).own(task.audio_seconds or 0.0)
        device.real_bytes[task_id] = int(formula * self._rng.lognormvariate(self._world.bias, self._world.noise))
        total = self._world.capacity_bytes + self._world.headroom_bytes
        self.outcome.started(
            self._outcomes[task_id], self._now, device.used_bytes > total, self._passed_seconds(task_id)
        )
        work = self._service.work_seconds(task.options.model, task.audio_left_seconds)
        again = self._window_work(task_id) if task.progress > 0 else 0.0  # what having made way takes, see `preemption`
        device.engine.begin(task_id, work, again)
        self._change(TaskStatus.PENDING, task.with_(status=TaskStatus.PROCESSING, version=task.version + 1))

    def _passed_seconds(self, task_id: str) -> float:
        """How much earlier than this task the oldest one of its owner that stays waiting had arrived."""
        waiting = self._oldest[self._tasks[task_id].owner]
        while waiting and not self._waits(waiting[0][1]):
            heappop(waiting)
        oldest = self._outcomes[waiting[0][1]].arrived if waiting else self._now
        return max(0.0, self._outcomes[task_id].arrived - oldest)

    def _waits(self, task_id: str) -> bool:
        task = self._tasks.get(task_id)
        return task is not None and task.status is TaskStatus.PENDING


def _numbered(trace: Iterable[Arrival]) -> Iterator[tuple[int, Arrival]]:
    return enumerate(iter(trace), start=1)
