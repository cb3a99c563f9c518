"""Reservations, releases, loads, evictions, deaths, shortages, measurements and changes of the device in any order.

The ledger equals a dictionary that cannot be wrong, and the estimates keep to their bounds.
"""

from __future__ import annotations

import random
from threading import Barrier, Thread

import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.ledger_sync import LedgerSync
from optimizer.memory.costs import ConcurrentTasks
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.memory.ledger import GPUMemoryPool, Reservation, model_owner
from optimizer.memory.probes import MemoryReading
from tests.properties import budget

MB = 1_000_000
TOTAL, HEADROOM = 2_000 * MB, 200 * MB
SIZES = st.integers(0, 2_200).map(lambda megabytes: megabytes * MB)
SECONDS = st.floats(0, 5_000)
MODELS = ("tiny", "base", "small")
MOST_RAISED = 4.0  # times the estimate before any shortage


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool = GPUMemoryPool("cuda:0", TOTAL, headroom_bytes=HEADROOM)
        self.truth = LedgerSync(DeviceSpec("cuda:0", "cuda", "a card", TOTAL, headroom_bytes=HEADROOM), self.pool)
        self.estimates = MemoryEstimationPool(1.2)
        self.total = TOTAL
        self.shrinks_to: int | None = None
        self.used = self.others = 0
        self.live: dict[Reservation, int] = {}
        self.models: dict[str, Reservation] = {}
        self.tasks_on: dict[Reservation, str] = {}
        self.released: list[Reservation] = []
        self.voided: list[Reservation] = []
        self.double_releases = 0

    @property
    def capacity(self) -> int:
        return self.total - min(HEADROOM, self.total)

    @property
    def reserved(self) -> int:
        return sum(self.live.values())

    @property
    def unreserved(self) -> int:
        return 0 if self.shrinks_to is not None else self.capacity - self.reserved

    @property
    def free(self) -> int:
        return max(0, self.unreserved - self.others)

    def settle(self) -> None:
        """The device takes on its new size as soon as the reservations fit into it."""
        if self.shrinks_to is not None and self.shrinks_to - min(HEADROOM, self.shrinks_to) >= self.reserved:
            self.total, self.shrinks_to = self.shrinks_to, None

    def try_reserve(self, owner: str, nbytes: int, respects_others: bool = True) -> Reservation | None:
        before, fits = self.pool.snapshot(), nbytes <= (self.free if respects_others else self.unreserved)
        reservation = self.pool.try_reserve(owner, nbytes, respects_others=respects_others)
        assert (reservation is not None) == (fits and (self.shrinks_to is None or nbytes == 0))
        if reservation is None:
            assert self.pool.snapshot() == before
        else:
            self.live[reservation] = nbytes
        return reservation

    # --- models and tasks --------------------------------------------------------------------------------------

    @rule(model=st.sampled_from(MODELS))
    def load_model(self, model: str) -> None:
        if model not in self.models:
            reservation = self.try_reserve(model_owner(model), self.estimates.weights_bytes(model, "cuda"))
            if reservation is not None:
                self.models[model] = reservation

    @precondition(lambda self: self.models)
    @rule(data=st.data(), seconds=SECONDS, forced=st.booleans())
    def start_task(self, data: st.DataObject, seconds: float, forced: bool) -> None:
        model = data.draw(st.sampled_from(sorted(self.models)))
        nbytes = self.estimates.task_bytes(model, "cuda", seconds)
        reservation = self.try_reserve(f"task-{len(self.released)}", nbytes, respects_others=not forced)
        if reservation is not None:
            self.tasks_on[reservation] = model

    @precondition(lambda self: self.tasks_on)
    @rule(data=st.data(), as_context=st.booleans())
    def end_task(self, data: st.DataObject, as_context: bool) -> None:
        reservation = data.draw(st.sampled_from(list(self.tasks_on)))
        if as_context:
            with reservation:
                pass
        else:
            reservation.release()
        self.forget(reservation)

    @precondition(lambda self: self.tasks_on)
    @rule(data=st.data(), seconds=SECONDS)
    def task_runs_out_of_memory(self, data: st.DataObject, seconds: float) -> None:
        """Its reservation ends with the attempt; the next estimate is larger."""
        reservation = data.draw(st.sampled_from(list(self.tasks_on)))
        model, nbytes = self.tasks_on[reservation], self.live[reservation]
        before = self.estimates.task_bytes(model, "cuda", seconds)
        self.estimates.record_out_of_memory(model, "cuda", seconds, False, nbytes)
        after = self.estimates.task_bytes(model, "cuda", seconds)
        assert before <= after <= MOST_RAISED * before
        reservation.release()
        self.forget(reservation)

    @rule(model=st.sampled_from(MODELS), lengths=st.lists(SECONDS, min_size=1, max_size=16), factor=st.floats(0.1, 9))
    def learn(self, model: str, lengths: list[float], factor: float) -> None:
        """A measurement comes, and the loaded models' reservations follow it as far as they can."""
        estimated = sum(self.estimates.task_bytes(model, "cuda", seconds) for seconds in lengths)
        peak_bytes = int(factor * estimated / len(lengths))
        self.estimates.record(model, "cuda", ConcurrentTasks.of(lengths), peak_bytes=peak_bytes)
        self.estimates.relieve()
        for loaded, reservation in self.models.items():
            self.resize(reservation, self.estimates.weights_bytes(loaded, "cuda"))

    @rule(model=st.sampled_from(MODELS))
    def evict_model(self, model: str) -> None:
        if model in self.models and model not in self.tasks_on.values():
            reservation = self.models.pop(model)
            reservation.release()
            self.forget(reservation)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), nbytes=SIZES)
    def resize_reservation(self, data: st.DataObject, nbytes: int) -> None:
        self.resize(data.draw(st.sampled_from(list(self.live))), nbytes)

    def resize(self, reservation: Reservation, nbytes: int) -> None:
        growth = nbytes - self.live[reservation]
        fits = growth <= 0 or growth <= self.free
        assert reservation.try_resize(nbytes) == fits
        if fits:
            self.live[reservation] = nbytes
            self.settle()

    @precondition(lambda self: self.released or self.voided)
    @rule(data=st.data())
    def release_again(self, data: st.DataObject) -> None:
        reservation = data.draw(st.sampled_from(self.released + self.voided))
        self.double_releases += reservation in self.released
        reservation.release()
        assert not reservation.try_resize(1)

    # --- the device --------------------------------------------------------------------------------------------

    @rule(used=SIZES, others=st.none() | SIZES)
    def observe(self, used: int, others: int | None) -> None:
        self.pool.observe(used, others)
        self.used, self.others = used, self.others if others is None else others

    @rule(total=st.integers(0, 3_000))
    def device_changes_size(self, total: int) -> None:
        self.shrinks_to = total * MB
        self.settle()
        assert self.pool.resize(total * MB) == (self.shrinks_to is None)

    @rule(total=st.integers(0, 2_500), free=st.floats(0, 1), ours=st.none() | SIZES)
    def machine_is_read(self, total: int, free: float, ours: int | None) -> None:
        """What others use counts at once; a smaller card as soon as the reservations fit into it."""
        reading = MemoryReading(total * MB, int(free * total) * MB, ours)
        self.truth.apply_reading(reading)
        snapshot = self.pool.snapshot()
        assert snapshot.wanted_total <= reading.total
        assert snapshot.others == max(0, snapshot.wanted_total - reading.free - (self.used if ours is None else ours))
        self.others, self.total, self.shrinks_to = snapshot.others, snapshot.total, snapshot.shrinks_to

    @rule()
    def worker_dies(self) -> None:
        self.pool.void_all()
        self.voided += [*self.live, *self.released]  # releasing these again is no longer counted
        for state in (self.live, self.models, self.tasks_on, self.released):
            state.clear()
        self.used = 0
        self.settle()
        assert self.pool.reserved_bytes == 0

    def forget(self, reservation: Reservation) -> None:
        del self.live[reservation]
        self.tasks_on.pop(reservation, None)
        self.released.append(reservation)
        self.settle()

    # --- what always holds -------------------------------------------------------------------------------------

    @invariant()
    def reservations_leave_the_headroom(self) -> None:
        assert 0 <= self.pool.reserved_bytes <= self.capacity

    @invariant()
    def the_ledger_is_the_sum_of_what_lives(self) -> None:
        snapshot = self.pool.snapshot()
        assert snapshot.reserved == self.reserved
        assert sorted(entry.nbytes for entry in snapshot.reservations) == sorted(self.live.values())
        assert (snapshot.total, snapshot.shrinks_to) == (self.total, self.shrinks_to)
        assert (snapshot.used, snapshot.others, snapshot.free) == (self.used, self.others, self.free)
        assert snapshot.double_releases == self.double_releases
        self.pool.check()

    @invariant()
    def nothing_new_is_reserved_while_the_device_is_to_shrink(self) -> None:
        if self.shrinks_to is not None:
            assert self.reserved > self.shrinks_to - min(HEADROOM, self.shrinks_to)
            assert self.pool.try_reserve("task-new", 1, respects_others=False) is None

    @invariant()
    def without_tasks_only_models_hold_memory(self) -> None:
        if not self.tasks_on:
            assert self.pool.reserved_bytes == sum(self.pool.snapshot().models.values())

    @invariant()
    def a_model_in_use_is_resident(self) -> None:
        assert set(self.tasks_on.values()) <= set(self.pool.snapshot().models)

    @invariant()
    def an_empty_device_grants_whatever_others_leave(self) -> None:
        """So nobody waits for ever: what fits at all can be reserved once enough is released."""
        if not self.live:
            reservation = self.pool.try_reserve("task-alone", self.free)
            assert reservation is not None
            self.pool.void_all()
            self.used = 0
            self.voided += self.released
            self.released.clear()

    @invariant()
    def the_estimate_of_a_longer_recording_is_never_smaller(self) -> None:
        for model in MODELS:
            sizes = [self.estimates.task_bytes(model, "cuda", seconds) for seconds in (0, 29, 31, 600, 5_000)]
            assert sizes == sorted(sizes)
            assert sizes[0] > 0


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = budget(100, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.usefixtures("frequent_thread_switches")
def test_eight_threads_that_reserve_shrink_observe_and_void_leave_a_ledger_that_adds_up() -> None:
    pool = GPUMemoryPool("cuda:0", TOTAL, headroom_bytes=HEADROOM)
    barrier, errors = Barrier(8), list[BaseException]()

    def tasks(choose: random.Random) -> None:
        reservation = pool.try_reserve("task", choose.randrange(TOTAL // 3), respects_others=choose.random() < 0.5)
        snapshot = pool.snapshot()
        assert 0 <= snapshot.reserved <= snapshot.total - snapshot.headroom
        if reservation is not None:
            reservation.try_resize(choose.randrange(TOTAL // 3))
            reservation.release()

    def device(choose: random.Random) -> None:
        match choose.randrange(4):
            case 0:
                pool.resize(choose.randrange(2 * TOTAL))
            case 1:
                pool.observe(choose.randrange(TOTAL), choose.randrange(TOTAL))
            case 2 if choose.random() < 0.2:
                pool.void_all()
        pool.check()

    def worker(number: int) -> None:
        choose = random.Random(number)
        barrier.wait(timeout=30)
        try:
            for _ in range(300):
                (device if number < 2 else tasks)(choose)
        except BaseException as error:  # noqa: BLE001  shown by the main thread
            errors.append(error)

    threads = [Thread(target=worker, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    pool.check()
    assert pool.reserved_bytes == 0
    assert pool.resize(TOTAL)
    pool.observe(0, 0)
    assert pool.free_bytes == TOTAL - HEADROOM
