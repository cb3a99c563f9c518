"""One planner with more and more cards: what a planning round takes, who waits how long, and how the work is spread."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

from benchmarks.scheduling.scenarios import FULL, SLOTS, roomy
from benchmarks.scheduling.service_shares import ServiceShares, jain_index
from benchmarks.scheduling.simulation import SimulatedDevice, Simulation
from benchmarks.scheduling.traces import MEAN_AUDIO_SECONDS, Arrival, TraceSpec, arrivals
from benchmarks.scheduling.world import Scheme, Service, World
from optimizer.planning.plan import Plan
from optimizer.tasks.task import Task, TaskStatus

SHARES = {"tiny.en": 0.5, "base": 0.5}
LOAD = 0.9  # of what the cards get done with every slot taken
OWNERS = 100
HEAVIEST = 100.0
HEAVY = 5  # owners, those that bring most
SWING, SWING_SECONDS = 0.3, 600.0  # so that for a part of the time more arrives than the cards get done
LEAST_ENTITLED_TASKS = 20  # mean tasks
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class ScaleSpec:
    cards: int
    tasks: int
    card_speed: float = 50.0  # seconds of sound that a card gets done per second with every slot taken
    load: float = LOAD
    round_interval_s: float = 0.5
    seed: int = 1


@dataclass(frozen=True)
class Waits:
    """Seconds from arrival to the first start."""

    p50: float
    p95: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Waits:
        ordered = sorted(seconds)
        p50, p95, p99 = (ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] for quantile in QUANTILES)
        return cls(p50, p95, p99, ordered[-1])


@dataclass(frozen=True)
class ScaleRow:
    cards: int
    tasks: int
    load: float
    card_speed: float
    round_interval_s: float
    arriving_s: float  # until the last task arrived; the next figures are of this time, and those of the cards
    rounds: int
    round_cpu_ms: Mapping[str, float]  # median, p95, p99, longest
    planner_cpu_s: float
    share_of_core: float  # of the planner, in CPU seconds per simulated second
    total_cpu_s: float  # of the whole simulation
    contended: float  # share of the rounds that began with tasks that an earlier one had left waiting
    most_waiting: int
    waits: Waits
    heavy_waits: Waits  # of the owners who bring most
    light_waits: Waits  # of all others
    jain: float
    least_ratio: float  # of what an owner was entitled to
    judged_owners: int
    passed_most: float
    over_memory: int
    stepped_aside: int
    loads: int
    utilisation: tuple[float, float, float]  # slots in use over the time: of the card with least, the mean, with most
    balance_cv: float  # coefficient of variation of the work that the cards did
    busy_cv: float  # and of the time in which they ran anything
    peak_bytes: int  # of the process
    bytes_per_task: float  # what it grew by, per task


@dataclass(frozen=True)
class RoundCosts:
    """What rounds take in which every task finds a place, by least squares."""

    cards: int
    card_speed: float
    load: float
    rounds: int
    started_most: int  # tasks, in one of them
    round_ms: float  # of CPU time
    task_ms: float  # for each task that a round starts, besides


@dataclass(frozen=True)
class Books:
    """What had been done when the last task arrived; after that the cards only run empty."""

    seconds: float
    rounds: int
    planner_cpu_s: float
    slots_in_use: list[float]  # of each card, a share of its slots and of the time
    busy_s: list[float]
    work_s: list[float]


class ScaleSimulation(Simulation):
    """Keeps books on owners and cards besides."""

    def __init__(self, scheme: Scheme, service: Service, world: World, *, seed: int, round_interval_s: float) -> None:
        super().__init__(scheme, service, world, seed=seed, round_interval_s=round_interval_s)
        self.shares = ServiceShares()
        self.waits: defaultdict[str, list[float]] = defaultdict(list)
        self.completed = 0
        self.started: list[int] = []  # tasks, in each round
        self.left: list[int] = []  # tasks that go on waiting, after each round
        self.contended_rounds = self.most_waiting = 0
        self.books: Books | None = None
        self._left_waiting = False

    def close_books(self) -> None:
        self._advance_all()
        self.books = Books(
            seconds=self._now,
            rounds=len(self.started),
            planner_cpu_s=sum(self.outcome.decisions),
            slots_in_use=[engine.slot_seconds / (engine.slots * self._now) for engine in self.engines],
            busy_s=[engine.busy_seconds for engine in self.engines],
            work_s=[engine.served_in_all for engine in self.engines],
        )

    def _change(self, before: TaskStatus | None, task: Task) -> None:
        if task.status is TaskStatus.PENDING:
            self.shares.wait(task.owner)
        self.completed += task.status is TaskStatus.COMPLETED
        super()._change(before, task)
        self.most_waiting = max(self.most_waiting, self._waiting)

    def _start(self, device: SimulatedDevice, task_id: str, nbytes: int) -> None:
        task, outcome = self._tasks[task_id], self._outcomes[task_id]
        if outcome.started is None:
            self.waits[task.owner].append(self._now - outcome.arrived)
        work_s = self._service.work_seconds(task.options.model, task.audio_left_seconds)
        self.shares.start(task.owner, work_s, is_contended=self._left_waiting)
        super()._start(device, task_id, nbytes)

    def _decide(self) -> None:
        super()._decide()
        self._left_waiting = self._waiting > 0

    def _plan(self) -> Plan:
        made = super()._plan()
        self.started.append(len(made.assignments))
        self.left.append(self._waiting - len(made.assignments))
        self.contended_rounds += self._left_waiting
        return made


def run_all(specs: Sequence[ScaleSpec], service: Service) -> list[ScaleRow]:
    """Each in a process of its own, so that its memory is its own; as many at once as there are cores."""
    with ProcessPoolExecutor(min(len(specs), os.cpu_count() or 1), get_context("spawn"), max_tasks_per_child=1) as pool:
        return list(pool.map(partial(run, service=service), specs))


def run(spec: ScaleSpec, service: Service) -> ScaleRow:
    before = _peak_bytes()
    began = time.process_time()
    simulation, mean_work_s = simulate(spec, service)
    return _row(spec, simulation, mean_work_s, time.process_time() - began, before)


def round_costs(spec: ScaleSpec, service: Service) -> RoundCosts:
    """Of the usual rounds, which are the cheapest: nothing was left waiting by an earlier one, nor is by them."""
    simulation, _ = simulate(spec, service)
    books = simulation.books
    assert books is not None
    figures = zip(
        simulation.outcome.decisions, simulation.started, simulation.left, [0, *simulation.left], strict=False
    )
    warm = list(figures)[books.rounds // 10 : books.rounds]  # before that, cards load their models
    usual = [(started, cpu_s) for cpu_s, started, left, left_before in warm if left == left_before == 0]
    started, cpu_s = zip(*usual, strict=True)
    fit = statistics.linear_regression(started, cpu_s)
    return RoundCosts(
        spec.cards, spec.card_speed, spec.load, len(usual), max(started), 1000 * fit.intercept, 1000 * fit.slope
    )


def simulate(spec: ScaleSpec, measured: Service) -> tuple[ScaleSimulation, float]:
    """The simulation when it is over, and the work of a mean task."""
    service = as_fast_as(measured, spec.card_speed)
    mean_work_s = MEAN_AUDIO_SECONDS * sum(share / service.speeds[model] for model, share in SHARES.items())
    world = replace(roomy(spec.cards), measured_all=200, measured_every=1000)
    simulation = ScaleSimulation(
        Scheme(FULL, SLOTS, service.gain), service, world, seed=spec.seed, round_interval_s=spec.round_interval_s
    )
    simulation.run(_until_the_end(trace(spec, service), simulation))
    return simulation, mean_work_s


def _until_the_end(coming: Iterator[Arrival], simulation: ScaleSimulation) -> Iterator[Arrival]:
    """The next task is asked for when one arrives, so the end is known when the last one does."""
    yield from coming
    simulation.close_books()


def trace(spec: ScaleSpec, service: Service) -> Iterator[Arrival]:
    load = spec.load * service.gain.at(SLOTS)
    described = TraceSpec(
        spec.tasks, load, "bursty", seed=spec.seed, owners=OWNERS, heaviest=HEAVIEST, swing=SWING,
        swing_seconds=SWING_SECONDS,
    )  # fmt: skip
    return arrivals(described, dict(service.speeds), SHARES, spec.cards)


def as_fast_as(measured: Service, card_speed: float) -> Service:
    """The measured models with the measured gain from batches, so much faster or slower that a card with every slot
    taken gets `card_speed` seconds of sound done per second."""
    mixed = 1 / sum(share / measured.speeds[model] for model, share in SHARES.items())
    factor = card_speed / (mixed * measured.gain.at(SLOTS))
    return replace(measured, speeds={model: speed * factor for model, speed in measured.speeds.items()})


def _row(spec: ScaleSpec, simulation: ScaleSimulation, mean_work_s: float, cpu_s: float, bytes_before: int) -> ScaleRow:
    outcome, books = simulation.outcome, simulation.books
    assert books is not None
    ratios = simulation.shares.ratios(LEAST_ENTITLED_TASKS * mean_work_s)
    heavy = {f"owner{place}" for place in range(HEAVY)}
    peak = _peak_bytes()
    return ScaleRow(
        cards=spec.cards,
        tasks=spec.tasks,
        load=spec.load,
        card_speed=spec.card_speed,
        round_interval_s=spec.round_interval_s,
        arriving_s=books.seconds,
        rounds=books.rounds,
        round_cpu_ms={
            "median": 1000 * outcome.decision_quantile(0.5),
            "p95": 1000 * outcome.decision_quantile(0.95),
            "p99": 1000 * outcome.decision_quantile(0.99),
            "longest": 1000 * max(outcome.decisions),
        },
        planner_cpu_s=books.planner_cpu_s,
        share_of_core=books.planner_cpu_s / books.seconds,
        total_cpu_s=cpu_s,
        contended=simulation.contended_rounds / len(simulation.started),
        most_waiting=simulation.most_waiting,
        waits=Waits.of(outcome.waits),
        heavy_waits=Waits.of(_waits_of(simulation, heavy)),
        light_waits=Waits.of(_waits_of(simulation, set(simulation.waits) - heavy)),
        jain=jain_index(ratios.values()),
        least_ratio=min(ratios.values(), default=1.0),
        judged_owners=len(ratios),
        passed_most=outcome.passed_most,
        over_memory=outcome.over_memory,
        stepped_aside=outcome.stepped_aside,
        loads=outcome.loads,
        utilisation=(min(books.slots_in_use), statistics.fmean(books.slots_in_use), max(books.slots_in_use)),
        balance_cv=_variation(books.work_s),
        busy_cv=_variation(books.busy_s),
        peak_bytes=peak,
        bytes_per_task=(peak - bytes_before) / spec.tasks,
    )


def _waits_of(simulation: ScaleSimulation, owners: set[str]) -> Iterator[float]:
    return (wait for owner in owners for wait in simulation.waits[owner])


def _variation(figures: Sequence[float]) -> float:
    """The coefficient of variation."""
    return statistics.pstdev(figures) / statistics.fmean(figures)


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
