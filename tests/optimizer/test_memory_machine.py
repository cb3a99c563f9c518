"""Any order of promises, releases, loads, evictions and deaths: the ledger equals a dictionary that cannot be wrong."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from optimizer.memory_pool import GPUMemoryPool, Reservation, model_owner

TOTAL, HEADROOM = 1000, 100
SIZES = st.integers(0, 1100)
MODELS = ("tiny", "base", "small")


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool = GPUMemoryPool("cuda:0", TOTAL, headroom_bytes=HEADROOM)
        self.total = TOTAL
        self.others = 0
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
    def promised(self) -> int:
        return sum(self.live.values())

    def try_reserve(self, owner: str, nbytes: int, respects_others: bool = True) -> Reservation | None:
        free = self.capacity - self.promised
        if respects_others:
            free = max(0, free - self.others)
        reservation = self.pool.try_reserve(owner, nbytes, respects_others=respects_others)
        assert (reservation is not None) == (nbytes <= free)
        if reservation is not None:
            self.live[reservation] = nbytes
        return reservation

    @rule(model=st.sampled_from(MODELS), nbytes=SIZES)
    def load_model(self, model: str, nbytes: int) -> None:
        if model not in self.models:
            reservation = self.try_reserve(model_owner(model), nbytes)
            if reservation is not None:
                self.models[model] = reservation

    @rule(number=st.integers(0, 10_000), nbytes=SIZES, forced=st.booleans(), data=st.data())
    def start_task(self, number: int, nbytes: int, forced: bool, data: st.DataObject) -> None:
        if self.models:
            model = data.draw(st.sampled_from(sorted(self.models)))
            reservation = self.try_reserve(f"task-{number}", nbytes, respects_others=not forced)
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

    @rule(model=st.sampled_from(MODELS))
    def evict_model(self, model: str) -> None:
        if model in self.models and model not in self.tasks_on.values():
            reservation = self.models.pop(model)
            reservation.release()
            self.forget(reservation)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), nbytes=SIZES)
    def resize_promise(self, data: st.DataObject, nbytes: int) -> None:
        reservation = data.draw(st.sampled_from(list(self.live)))
        growth = nbytes - self.live[reservation]
        fits = growth <= 0 or growth <= max(0, self.capacity - self.promised - self.others)
        assert reservation.try_resize(nbytes) == fits
        if fits:
            self.live[reservation] = nbytes

    @precondition(lambda self: self.released or self.voided)
    @rule(data=st.data())
    def release_again(self, data: st.DataObject) -> None:
        reservation = data.draw(st.sampled_from(self.released + self.voided))
        self.double_releases += reservation in self.released
        reservation.release()
        assert not reservation.try_resize(1)

    @rule(used=st.integers(0, 2000), others=st.integers(0, 2000))
    def observe(self, used: int, others: int) -> None:
        self.pool.observe(used, others)
        self.others = others

    @rule(total=st.integers(0, 1500))
    def device_changes_size(self, total: int) -> None:
        fits = total - min(HEADROOM, total) >= self.promised
        assert self.pool.resize(total) == fits
        if fits:
            self.total = total

    @rule()
    def worker_dies(self) -> None:
        self.pool.void_all()
        self.voided += [*self.live, *self.released]  # releasing these again is no longer counted
        for state in (self.live, self.models, self.tasks_on, self.released):
            state.clear()
        assert self.pool.reserved_bytes == 0

    def forget(self, reservation: Reservation) -> None:
        del self.live[reservation]
        self.tasks_on.pop(reservation, None)
        self.released.append(reservation)

    @invariant()
    def promises_stay_below_the_headroom(self) -> None:
        assert 0 <= self.pool.reserved_bytes <= self.capacity

    @invariant()
    def the_ledger_is_the_sum_of_what_lives(self) -> None:
        snapshot = self.pool.snapshot()
        assert snapshot.reserved == self.promised
        assert sorted(entry.nbytes for entry in snapshot.reservations) == sorted(self.live.values())
        assert snapshot.free == max(0, self.capacity - self.promised - self.others)
        assert snapshot.double_releases == self.double_releases
        self.pool.check()

    @invariant()
    def without_tasks_only_models_are_promised(self) -> None:
        if not self.tasks_on:
            assert self.pool.reserved_bytes == sum(self.pool.snapshot().models.values())

    @invariant()
    def a_model_in_use_is_resident(self) -> None:
        assert set(self.tasks_on.values()) <= set(self.pool.snapshot().models)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
