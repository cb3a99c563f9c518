"""The devices' real memory, as a made-up machine reports it: what others use; cards that go, shrink, grow or return."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from optimizer.common.kinds import DeviceKind
from optimizer.devices.discovery import DeviceSpec, cpu_device
from optimizer.devices.memory_poll import MemoryPoll
from optimizer.devices.residency import ModelShortfall
from optimizer.devices.status import DeviceState
from optimizer.memory.costs import ConcurrentTasks
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.formula import costs_formula
from optimizer.memory.ledger import CONTEXT_OWNER
from optimizer.memory.probes import GONE, MemoryReading, cpu_memory
from optimizer.memory.regression import FEW_MEASUREMENTS
from tests.optimizer.devices.fake_worker import FakeWorker, device_of
from tests.optimizer.fakes import FakeClock
from whisper_core.models.catalogue import model_info
from whisper_core.worker import messages as protocol
from whisper_core.worker.messages import MemoryReport

GB = 10**9
SLOTS = 4


class Machine:
    """With one device of 10 GB, of which 1 GB is headroom. reading: what it says about the device's memory."""

    def __init__(self, *, follows_free: bool = False, kind: DeviceKind = "cuda") -> None:
        self.reading: MemoryReading | None = MemoryReading(10 * GB, 10 * GB, None)
        self.asked: list[tuple[DeviceKind, str | None, int | None]] = []
        self.told: list[tuple[str, str]] = []
        self.shortfalls: list[ModelShortfall] = []
        self.clock = FakeClock()
        self.worker = FakeWorker()
        spec = DeviceSpec(
            "cuda:0", kind, "a card", 10 * GB, gpu_uuid="GPU-1", headroom_bytes=GB, follows_free=follows_free
        )
        self.device = device_of(spec, self.worker, self.clock, GB)
        self.device.start()
        self.device.apply_report(protocol.WorkerReady("cuda:0", "a card", 1, MemoryReport(0, 0), slots=8))
        self.estimates = MemoryEstimationPool(1.2)
        self.posted: list[Callable[[], None]] = []
        self.watch = MemoryPoll(
            self,
            self.estimates,
            devices=[self.device],
            post=self.posted.append,
            tell=lambda device, text: self.told.append((device, text)),
            tell_shortfall=self.shortfalls.append,
        )

    def read(self, kind: DeviceKind, gpu_uuid: str | None, pid: int | None) -> MemoryReading | None:
        self.asked.append((kind, gpu_uuid, pid))
        return self.reading

    def tick(self, reading: MemoryReading | None) -> None:
        """One look at the machine; then the scheduler's thread applies what it found."""
        self.reading = reading
        self.watch.tick()
        self.run_actions()

    def run_actions(self) -> None:
        while self.posted:
            self.posted.pop(0)()

    def heartbeat(self, used: int) -> None:
        self.device.apply_report(protocol.Heartbeat(MemoryReport(used, used)))

    def exits(self) -> None:
        self.device.apply_exit()

    @property
    def others(self) -> int:
        return self.device.pool.snapshot().others

    @property
    def free(self) -> int:
        return self.device.pool.free_bytes


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_what_others_take_is_not_reserved_from_then_on(machine: Machine) -> None:
    assert machine.free == 8 * GB  # less headroom and context
    machine.tick(MemoryReading(10 * GB, 5 * GB, 2 * GB))
    assert machine.asked == [("cuda", "GPU-1", 77)]
    assert (machine.others, machine.free) == (3 * GB, 5 * GB)
    machine.tick(MemoryReading(10 * GB, 8 * GB, 2 * GB))
    assert (machine.others, machine.free) == (0, 8 * GB)


def test_devices_change_on_the_schedulers_thread_only(machine: Machine) -> None:
    machine.reading = MemoryReading(10 * GB, 0, 0)
    machine.watch.tick()
    assert machine.others == 0
    machine.run_actions()
    assert machine.others == 10 * GB


def test_where_the_driver_does_not_know_our_worker_the_workers_own_report_counts(machine: Machine) -> None:
    machine.heartbeat(2 * GB)
    machine.tick(MemoryReading(10 * GB, 5 * GB, None))
    assert machine.others == 3 * GB


def test_what_the_worker_took_since_its_last_heartbeat_counts_as_others_until_the_next_one(machine: Machine) -> None:
    machine.heartbeat(GB)
    machine.tick(MemoryReading(10 * GB, 5 * GB, None))
    assert machine.others == 4 * GB
    machine.heartbeat(4 * GB)
    assert machine.others == GB
    machine.heartbeat(6 * GB)  # it grew after the reading: says nothing of the others
    assert machine.others == GB


def test_a_heartbeat_after_the_worker_gave_memory_back_changes_nothing(machine: Machine) -> None:
    machine.heartbeat(4 * GB)
    machine.tick(MemoryReading(10 * GB, 5 * GB, None))
    machine.heartbeat(GB)
    assert machine.others == GB


def test_a_machine_that_says_nothing_changes_nothing(machine: Machine) -> None:
    machine.tick(MemoryReading(10 * GB, 5 * GB, 2 * GB))
    machine.tick(None)
    assert machine.others == 3 * GB


def test_a_smaller_card_shrinks_the_ledger_once_the_reservations_fit(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    task = machine.device.pool.try_reserve("T1", 6 * GB)
    assert task is not None
    with caplog.at_level(logging.WARNING):
        machine.tick(MemoryReading(6 * GB, 6 * GB, 0))
    assert "from_mb=10000 to_mb=6000 once enough reservations have ended" in caplog.text
    assert (machine.device.pool.snapshot().wanted_total, machine.free, task.nbytes) == (6 * GB, 0, 6 * GB)
    assert machine.others == 0
    task.release()
    assert (machine.device.pool.snapshot().total, machine.free) == (6 * GB, 4 * GB)


@pytest.mark.parametrize(("follows_free", "total"), [(True, 14 * GB), (False, 10 * GB)])
def test_memory_that_others_give_back_is_used_unless_a_setting_fixed_the_size(follows_free: bool, total: int) -> None:
    machine = Machine(follows_free=follows_free)
    machine.tick(MemoryReading(20 * GB, 13 * GB, GB))
    assert (machine.device.pool.snapshot().total, machine.others) == (total, 0)


def test_a_little_more_free_memory_does_not_change_the_size() -> None:
    machine = Machine(follows_free=True)
    machine.tick(MemoryReading(20 * GB, int(10.4 * GB), 0))
    assert machine.device.pool.snapshot().total == 10 * GB


# --- a card that goes ------------------------------------------------------------------------------------------------


def test_a_card_that_is_gone_ends_its_worker_and_nothing_of_it_is_reserved(machine: Machine) -> None:
    machine.tick(GONE)
    machine.tick(GONE)
    assert machine.worker.kills == 1
    assert machine.told == [("cuda:0", "a card (cuda:0) is gone; its tasks wait or go to other devices.")]
    assert machine.free == 0
    machine.exits()
    assert machine.device.pool.snapshot().capacity == 0


def test_a_card_that_is_gone_becomes_unavailable_when_no_worker_can_be_started(machine: Machine) -> None:
    machine.tick(GONE)
    error = machine.device.apply_exit()[0]
    assert error.code == "device_lost"
    for _ in range(2):
        machine.clock.advance(60)
        machine.device.supervise(machine.clock.monotonic())
        machine.exits()
    assert machine.device.state is DeviceState.UNAVAILABLE


def test_a_card_that_comes_back_is_used_again(machine: Machine) -> None:
    test_a_card_that_is_gone_becomes_unavailable_when_no_worker_can_be_started(machine)
    starts = machine.worker.starts
    machine.tick(MemoryReading(10 * GB, 10 * GB, None))
    machine.device.supervise(machine.clock.monotonic())
    assert machine.worker.starts == starts + 1
    assert machine.told[-1] == ("cuda:0", "a card (cuda:0) is back.")
    assert (machine.device.pool.snapshot().total, machine.free) == (10 * GB, 8 * GB)


def test_a_device_that_is_unavailable_for_another_reason_is_not_started_by_a_reading(machine: Machine) -> None:
    machine.device.supervisor.state = DeviceState.UNAVAILABLE
    machine.tick(MemoryReading(10 * GB, 10 * GB, None))
    assert machine.device.state is DeviceState.UNAVAILABLE


# --- reservations follow what was learned ----------------------------------------------------------------------------


def load(machine: Machine) -> int:
    """What is reserved for it."""
    nbytes = machine.estimates.weights_bytes("base", "cuda", SLOTS)
    assert machine.device.models.load("base", nbytes, SLOTS)
    machine.device.apply_report(protocol.ModelLoaded("base", 1, 1.0))
    return nbytes


def learn(machine: Machine, factor: float) -> int:
    """What the estimates say of the model afterwards."""
    concurrent = ConcurrentTasks.of([60.0])
    peak_bytes = int(factor * costs_formula(model_info("base"), "cuda").growth(concurrent))
    for _ in range(FEW_MEASUREMENTS):
        machine.estimates.record("base", "cuda", concurrent, peak_bytes=peak_bytes)
    return machine.estimates.weights_bytes("base", "cuda", SLOTS)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_the_reservation_of_a_loaded_model_follows_what_was_learned(machine: Machine, factor: float) -> None:
    before = load(machine)
    after = learn(machine, factor)
    assert before != after
    machine.tick(None)
    assert machine.device.pool.snapshot().models["base"] == after


def test_a_reservation_that_was_too_small_is_told_of_when_it_is_raised_and_not_again(machine: Machine) -> None:
    before = load(machine)
    after = learn(machine, 6.0)  # most of the reservation is for what the model holds, which stays
    machine.tick(None)
    machine.tick(None)
    assert machine.shortfalls == [ModelShortfall("cuda:0", "base", before, after, was_raised=True)]


def test_a_reservation_that_was_too_large_is_not_told_of(machine: Machine) -> None:
    load(machine)
    learn(machine, 0.5)
    machine.tick(None)
    assert machine.shortfalls == []


def test_a_reservation_that_cannot_grow_stays_and_is_complained_of_once(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    before = load(machine)
    assert machine.device.pool.try_reserve("T1", machine.free) is not None
    needed = learn(machine, 2.0)
    with caplog.at_level(logging.WARNING):
        machine.tick(None)
        machine.tick(None)
    assert machine.device.pool.snapshot().models["base"] == before
    assert caplog.text.count("event=reservation_too_small") == 1
    assert machine.shortfalls == [ModelShortfall("cuda:0", "base", before, needed, was_raised=False)]


def test_what_a_shortage_raised_falls_with_every_look(machine: Machine) -> None:
    reserved = machine.estimates.task_bytes("base", "cuda", 60.0)
    machine.estimates.record_out_of_memory("base", "cuda", 60.0, False, reserved)
    raised = machine.estimates.task_bytes("base", "cuda", 60.0)
    machine.tick(None)
    assert reserved < machine.estimates.task_bytes("base", "cuda", 60.0) < raised


# --- where sizes come from -------------------------------------------------------------------------------------------


def test_the_cpu_has_what_is_free_less_a_tenth_and_follows_it(make_settings: Callable[..., object]) -> None:
    spec = cpu_device(make_settings())  # type: ignore[arg-type]
    assert spec.follows_free
    assert spec.headroom_bytes == spec.total_bytes // 10
    assert spec.total_bytes == pytest.approx(cpu_memory()[1], rel=0.2)


def test_a_size_from_the_settings_has_no_headroom_and_stays(make_settings: Callable[..., object]) -> None:
    spec = cpu_device(make_settings(cpu_memory_mb=3000))  # type: ignore[arg-type]
    assert (spec.total_bytes, spec.headroom_bytes, spec.follows_free) == (3 * GB, 0, False)


def test_the_context_is_reserved_within_what_the_headroom_leaves(machine: Machine) -> None:
    entries = {entry.owner: entry.nbytes for entry in machine.device.pool.snapshot().reservations}
    assert entries == {CONTEXT_OWNER: GB}
