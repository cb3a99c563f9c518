"""A tick: a sample is kept, the tuner obeyed, events are written; and what a full disk and a restart do to that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from errors import DiskFullError
from optimizer.common import failpoints
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceState, DeviceStatus
from optimizer.memory.ledger import GPUMemoryPool
from optimizer.monitoring.event_log import EventLog
from optimizer.monitoring.extra_metrics import ExtraMetrics
from optimizer.monitoring.limit_tuning import LimitsInForce, LimitTuning
from optimizer.monitoring.monitoring import MonitorHooks, Monitoring
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.monitoring.sample_store import SampleStore
from optimizer.monitoring.search_directions import PAUSE_SAMPLES
from optimizer.monitoring.tuner import BASE_SAMPLES
from optimizer.planning.plan import PlanLimits
from optimizer.storage.documents import DocumentStore, Persistence
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import TaskStatus
from optimizer.timing.forecast_accuracy import ForecastTracker
from optimizer.timing.speeds import SpeedTable
from tests.optimizer.fakes import FakeClock

INTERVAL_S = 30.0


class World:
    """A system that consists of its figures: one device with eight slots, and a queue that never ends."""

    def __init__(self, settings: Settings, clock: FakeClock, data_dir: Path) -> None:
        self.clock = clock
        self.store = TaskStore(data_dir)
        self.store.open()
        self.event_log = EventLog(self.store.database, clock)
        self.speeds = SpeedTable()
        self.monitor = PerformanceMonitor(clock, self.speeds, interval_s=INTERVAL_S, on_sample=lambda: None)
        self.forecasts = ForecastTracker()
        self.counts = dict.fromkeys(TaskStatus, 0)
        self.limits = PlanLimits(max_concurrent=settings.max_concurrent, max_batch=settings.max_batch_size)
        self.set: list[tuple[int | None, int | None]] = []
        self.is_optimized = True
        self.learned = DocumentStore(self.store.database, clock)
        in_force = LimitsInForce(limits=lambda: self.limits, set_limits=self.set_limits, slots=lambda: [8])
        self.monitoring = Monitoring(
            monitor=self.monitor,
            tuning=LimitTuning(settings, self.event_log, clock, in_force, lambda: self.is_optimized),
            samples=SampleStore(self.store.database, clock),
            event_log=self.event_log,
            persistence=Persistence(self.learned, {"speeds": self.speeds, "forecasts": self.forecasts}),
            clock=clock,
            hooks=MonitorHooks(
                statuses=lambda: [self.status()],
                counts=lambda: self.counts,
                entered=lambda: {TaskStatus.COMPLETED: 5},
            ),
            extra=ExtraMetrics((), clock, INTERVAL_S),
        )

    def status(self) -> DeviceStatus:
        spec = DeviceSpec("cpu", "cpu", "a processor", 1000)
        pool = GPUMemoryPool("cpu", 1000)
        return DeviceStatus(spec, DeviceState.READY, pool.snapshot(), is_unstable=False, slots=8)

    def set_limits(self, max_concurrent: int | None, max_batch: int | None) -> None:
        self.set.append((max_concurrent, max_batch))
        self.limits = PlanLimits(
            max_concurrent=self.limits.max_concurrent if max_concurrent is None else max_concurrent,
            max_batch=self.limits.max_batch if max_batch is None else max_batch,
        )

    def tick(self, times: int = 1, *, per_task: float = 10.0) -> None:
        """As many ticks with as many tasks running as may, each getting so much sound done in a second."""
        for _ in range(times):
            running = self.limits.most_running([8])
            self.counts |= {TaskStatus.PROCESSING: running, TaskStatus.PENDING: 50}
            self.monitoring.update_utilization()
            self.clock.advance(INTERVAL_S)
            self.monitor.add_audio(per_task * running * INTERVAL_S, "base", "cpu")
            self.monitoring.tick()

    def tuning(self) -> list[dict[str, Any]]:
        return [event.data for event in reversed(self.event_log.events("tuning"))]


@pytest.fixture
def make_world(
    make_settings: Callable[..., Settings], clock: FakeClock, tmp_path: Path
) -> Iterator[Callable[..., World]]:
    """Each call is a start on the same database."""
    made: list[World] = []

    def make(**values: Any) -> World:
        world = World(make_settings(**values), clock, tmp_path)
        world.monitoring.open()
        made.append(world)
        return world

    yield make
    failpoints.disarm()
    for world in made:
        world.store.close()


def test_a_tick_keeps_a_sample(make_world: Callable[..., World], clock: FakeClock) -> None:
    world = make_world()
    world.tick(2)
    first, second = world.monitoring.history(1)["samples"]
    assert (first["at"], second["at"]) == (clock.now().timestamp() - INTERVAL_S, clock.now().timestamp())
    assert (second["throughput"], second["running"], second["waiting"], second["occupancy"]) == (80.0, 8.0, 50.0, 1.0)
    assert (first["completed"], second["completed"]) == (5, 0)
    assert world.monitoring.last_occupancy == 1.0


def test_what_the_tuner_finds_is_in_force_and_in_the_event_log(make_world: Callable[..., World]) -> None:
    """Six tasks get as much done as eight do, but four do not."""
    world = make_world(max_concurrent_tasks_limit=8, min_batch_size=4)
    while len(world.tuning()) < 4:
        world.tick(per_task=60 / max(6, world.limits.most_running([8])))
    assert world.limits.max_concurrent == 6
    steps = [(change["step"], change["before"], change["after"]) for change in world.tuning()]
    assert steps == [("tried", 8, 6), ("kept", 8, 6), ("tried", 6, 4), ("taken_back", 4, 6)]
    changes = world.monitoring.history(168)["changes"]
    assert [change["data"] for change in changes] == world.tuning()
    report = world.monitoring.report()
    assert report["adaptive"]["max_concurrent_tasks"] == 6
    assert report["adaptive"]["last_change"]["text"] == changes[-1]["text"]


def test_auto_stays_auto_until_the_tuner_changes_the_number(make_world: Callable[..., World]) -> None:
    world = make_world(max_concurrent_tasks_limit="auto", min_batch_size=4)
    world.monitoring.set_by_hand(None, 4)
    assert world.set == [(None, 4)]
    world.tick(BASE_SAMPLES + 1)
    assert world.limits.max_concurrent == 6
    assert world.tuning()[-1]["before"] == 8


@pytest.mark.parametrize("switched_off", [{"enable_adaptive_optimization": False}, {}])
def test_switched_off_or_on_the_plain_path_nothing_moves_but_a_person_may(
    make_world: Callable[..., World], switched_off: dict[str, Any]
) -> None:
    world = make_world(**switched_off)
    world.is_optimized = bool(switched_off)
    world.tick(2 * BASE_SAMPLES)
    assert (world.set, world.monitoring.report()["adaptive"]["enabled"]) == ([], False)
    world.monitoring.set_by_hand(5, None)
    assert (world.limits.max_concurrent, world.limits.max_batch) == (5, 4)
    (change,) = world.tuning()
    assert (change["setting"], change["step"], change["before"], change["after"]) == (
        "max_concurrent_tasks", "by_hand", 8, 5,
    )  # fmt: skip


def test_what_a_person_set_is_left_alone(make_world: Callable[..., World]) -> None:
    world = make_world(min_batch_size=4)
    world.monitoring.set_by_hand(5, None)
    world.tick(PAUSE_SAMPLES - 1)
    assert world.limits.max_concurrent == 5
    world.tick(2 * BASE_SAMPLES)
    assert world.limits.max_concurrent == 8


def test_speeds_forecasts_and_events_are_there_after_a_restart(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.speeds.record("base", "cpu", 60.0, 3.0)
    world.event_log.add("decision", "A began.")
    world.monitoring.flush()
    again = make_world()
    assert again.speeds.speed("base", "cpu") == 20.0
    assert [event.text for event in again.event_log.events()] == ["A began."]


@pytest.mark.parametrize("document", [None, 3, "x", [1], {"cpu": 3}, {"cpu": {"base": "fast"}}, {"cpu": {"base": -1}}])
def test_speeds_that_cannot_be_read_are_measured_again(make_world: Callable[..., World], document: Any) -> None:
    make_world().learned.write({"speeds": document})
    world = make_world()
    assert world.speeds.speed("base", "cpu") is None


def test_unchanged_measurements_are_not_written_again(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.speeds.record("base", "cpu", 60.0, 3.0)
    world.monitoring.flush()
    written: list[dict[str, Any]] = []
    world.learned.write = written.append  # type: ignore[method-assign, assignment]
    world.monitoring.flush()
    assert written == [{}]


def test_a_full_disk_loses_a_sample_and_nothing_else(make_world: Callable[..., World]) -> None:
    def full_disk() -> None:
        raise DiskFullError()

    world = make_world()
    world.event_log.add("decision", "A began.")
    failpoints.arm({"store.before_commit": full_disk})
    world.tick()
    failpoints.disarm()
    world.tick()
    assert len(world.monitoring.history(1)["samples"]) == 1
    assert [event.text for event in make_world().event_log.events()] == ["A began."]
