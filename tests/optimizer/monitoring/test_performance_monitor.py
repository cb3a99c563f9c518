"""What an interval comes to: utilization averaged over time, sound done, waits, and memory as it stands."""

from __future__ import annotations

import threading

import pytest

from optimizer.memory.ledger import GPUMemoryPool, model_owner
from optimizer.monitoring.performance_monitor import PerformanceMonitor
from optimizer.monitoring.utilization import Utilization, UtilizationMeter
from optimizer.timing.speeds import SpeedTable
from tests.optimizer.fakes import FakeClock


@pytest.fixture
def speeds() -> SpeedTable:
    return SpeedTable()


@pytest.fixture
def monitor(clock: FakeClock, speeds: SpeedTable) -> PerformanceMonitor:
    return PerformanceMonitor(clock, speeds, interval_s=30, on_sample=lambda: None)


def test_utilization_is_averaged_over_the_time_that_it_lasted() -> None:
    meter = UtilizationMeter(now=0.0)
    meter.set(Utilization(running=4, waiting=2, retrying=1, allowed=4, limit=4), now=10.0)
    meter.set(Utilization(running=2, waiting=0, allowed=4, limit=4), now=30.0)
    mean = meter.restart(now=40.0)
    assert (mean.span_seconds, mean.running, mean.waiting, mean.retrying) == (40.0, 2.5, 1.0, 0.5)
    assert (mean.occupancy, mean.bound_fraction) == (0.625, 0.5)
    assert meter.restart(now=50.0).running == 2.0


def test_an_interval_of_no_length_has_the_present_utilization() -> None:
    meter = UtilizationMeter(now=0.0)
    meter.set(Utilization(running=3, allowed=4, limit=4), now=0.0)
    assert (meter.restart(now=0.0).running, meter.restart(now=0.0).span_seconds) == (3.0, 0.0)


@pytest.mark.parametrize(
    ("utilization", "occupancy", "is_bound"),
    [
        (Utilization(running=2, waiting=3, allowed=4, limit=8), 0.5, False),  # slots or memory hold them back
        (Utilization(running=8, waiting=3, allowed=8, limit=8), 1.0, True),
        (Utilization(running=8, waiting=0, allowed=8, limit=8), 1.0, False),
        (Utilization(running=9, waiting=1, allowed=8, limit=8), 1.0, True),  # the limit was lowered meanwhile
        (Utilization(running=0, waiting=1, allowed=0, limit=8), 0.0, False),  # no device is there yet
    ],
)
def test_utilization_says_how_full_the_devices_are_and_what_holds_tasks_back(
    utilization: Utilization, occupancy: float, is_bound: bool
) -> None:
    assert (utilization.occupancy, utilization.is_bound) == (occupancy, is_bound)


def test_an_interval_is_what_happened_since_the_last_one(
    monitor: PerformanceMonitor, speeds: SpeedTable, clock: FakeClock
) -> None:
    pool = GPUMemoryPool("cuda:0", 1000, headroom_bytes=50)
    pool.try_reserve(model_owner("base"), 300)
    pool.try_reserve("task", 100)
    pool.observe(250, others_bytes=20)
    speeds.record("base", "cuda:0", 60.0, 3.0)
    speeds.record("tiny", "cuda:0", 60.0, 1.0)
    monitor.set_utilization(Utilization(running=2, waiting=1, allowed=4, limit=2))
    for wait_s in [*range(1, 20), 100]:
        monitor.task_started(wait_s)
    clock.advance(20)
    monitor.add_audio(300.0, "base", "cuda:0")
    monitor.model_loaded()
    measured = monitor.finish_interval(Utilization(running=2, allowed=4, limit=2), [pool.snapshot()], ended=(3, 1))
    sample = measured.sample
    assert (sample.at, sample.span_seconds, sample.throughput) == (clock.now().timestamp(), 20.0, 15.0)
    assert (sample.running, sample.waiting, sample.occupancy) == (2.0, 1.0, 0.5)
    assert (sample.started, sample.completed, sample.failed) == (20, 3, 1)
    assert (sample.mean_wait_seconds, sample.p95_wait_seconds) == (14.5, 19.0)
    assert sample.speeds == {"cuda:0": {"base": 20.0}}  # of what ran, not of all that was ever measured
    device = sample.devices["cuda:0"]
    assert (device.total, device.headroom, device.reserved, device.used, device.others) == (1000, 50, 400, 250, 20)
    assert device.models == {"base": 300}
    assert (measured.audio, measured.bound_fraction, measured.models_loaded) == ({"base": 300.0}, 1.0, 1)

    clock.advance(10)
    quiet = monitor.finish_interval(Utilization(), [], ended=(4, 1))
    assert (quiet.sample.started, quiet.sample.completed, quiet.sample.failed) == (0, 1, 0)
    assert (quiet.sample.throughput, quiet.sample.mean_wait_seconds, quiet.sample.speeds) == (0.0, None, {})
    assert (quiet.audio, quiet.models_loaded) == ({}, 0)


def test_the_throughput_shown_is_that_of_the_last_minute(monitor: PerformanceMonitor, clock: FakeClock) -> None:
    monitor.add_audio(600.0, "base", "cpu")
    clock.advance(30)
    monitor.add_audio(60.0, "base", "cpu")
    assert monitor.throughput() == 11.0
    clock.advance(31)
    assert monitor.throughput() == 1.0


def test_stopping_one_that_was_never_started_is_harmless(monitor: PerformanceMonitor) -> None:
    monitor.stop()
    assert "monitor" not in {thread.name for thread in threading.enumerate()}
