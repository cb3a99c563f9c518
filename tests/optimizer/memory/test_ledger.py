"""The ledger of one device: reservations, their ends, what may never happen, from one thread and from eight."""

from __future__ import annotations

import random
from threading import Barrier, Thread

import pytest

from optimizer.memory.ledger import CONTEXT_OWNER, GPUMemoryPool, Reservation, model_owner

GB = 1_000_000_000


@pytest.fixture
def pool() -> GPUMemoryPool:
    return GPUMemoryPool("cuda:0", 10 * GB, headroom_bytes=GB)


def reserve(pool: GPUMemoryPool, owner: str, nbytes: int) -> Reservation:
    reservation = pool.try_reserve(owner, nbytes)
    assert reservation is not None
    return reservation


def test_a_reservation_lowers_what_is_free_until_it_is_released(pool: GPUMemoryPool) -> None:
    with reserve(pool, "task-1", 4 * GB) as reservation:
        assert (pool.reserved_bytes, pool.free_bytes) == (4 * GB, 5 * GB)
        assert (reservation.owner, reservation.nbytes) == ("task-1", 4 * GB)
    assert (pool.reserved_bytes, pool.free_bytes) == (0, 9 * GB)
    assert reservation.nbytes == 0


def test_a_reservation_is_released_when_the_work_under_it_fails(pool: GPUMemoryPool) -> None:
    with pytest.raises(ZeroDivisionError), reserve(pool, "task-1", GB):
        raise ZeroDivisionError
    assert pool.reserved_bytes == 0


def test_the_headroom_is_never_reserved(pool: GPUMemoryPool) -> None:
    assert pool.try_reserve("task-1", 9 * GB + 1) is None
    assert pool.try_reserve("task-1", 9 * GB) is not None


def test_a_refused_reservation_changes_nothing(pool: GPUMemoryPool) -> None:
    reserve(pool, "task-1", 6 * GB)
    before = pool.snapshot()
    assert pool.try_reserve("task-2", 4 * GB) is None
    assert pool.snapshot() == before


def test_releasing_twice_is_harmless_and_counted(pool: GPUMemoryPool) -> None:
    first, second = reserve(pool, "task-1", 2 * GB), reserve(pool, "task-2", 3 * GB)
    first.release()
    first.release()
    assert (pool.reserved_bytes, second.nbytes, pool.snapshot().double_releases) == (3 * GB, 3 * GB, 1)
    pool.check()


def test_one_owner_may_hold_two_reservations_while_an_old_attempt_is_ending(pool: GPUMemoryPool) -> None:
    old, new = reserve(pool, "task-1", GB), reserve(pool, "task-1", 2 * GB)
    old.release()
    assert (pool.reserved_bytes, new.nbytes) == (2 * GB, 2 * GB)


def test_memory_of_other_programs_is_not_reserved(pool: GPUMemoryPool) -> None:
    pool.observe(used_bytes=0, others_bytes=5 * GB)
    assert pool.try_reserve("task-1", 4 * GB + 1) is None
    assert pool.try_reserve("task-1", 4 * GB) is not None
    pool.check()


def test_a_forced_task_may_reserve_what_others_use_but_never_more_than_the_device_has(
    pool: GPUMemoryPool,
) -> None:
    pool.observe(used_bytes=0, others_bytes=5 * GB)
    assert pool.try_reserve("task-1", 9 * GB + 1, respects_others=False) is None
    assert pool.try_reserve("task-1", 9 * GB, respects_others=False) is not None
    assert pool.free_bytes == 0
    pool.check()


def test_a_reservation_can_be_resized_to_a_measurement(pool: GPUMemoryPool) -> None:
    weights = reserve(pool, model_owner("base"), 4 * GB)
    assert weights.try_resize(3 * GB)
    assert pool.reserved_bytes == 3 * GB
    assert not weights.try_resize(10 * GB)
    assert pool.reserved_bytes == 3 * GB
    weights.release()
    assert not weights.try_resize(GB)
    pool.check()


def test_what_others_use_stays_known_while_only_our_own_use_is_measured(pool: GPUMemoryPool) -> None:
    pool.observe(used_bytes=0, others_bytes=5 * GB)
    pool.observe(used_bytes=GB)
    assert (pool.snapshot().used, pool.snapshot().others) == (GB, 5 * GB)


def test_a_device_that_comes_back_smaller_keeps_its_reservations_and_makes_no_new_ones(pool: GPUMemoryPool) -> None:
    large, small = reserve(pool, "task-1", 4 * GB), reserve(pool, "task-2", GB)
    assert not pool.resize(4 * GB)
    snapshot = pool.snapshot()
    assert (snapshot.total, snapshot.shrinks_to, snapshot.capacity) == (10 * GB, 4 * GB, 3 * GB)
    assert (pool.reserved_bytes, pool.free_bytes) == (5 * GB, 0)
    assert pool.try_reserve("task-3", 1, respects_others=False) is None
    assert not small.try_resize(GB + 1)
    small.release()
    assert pool.snapshot().shrinks_to == 4 * GB
    assert large.try_resize(2 * GB)
    snapshot = pool.snapshot()
    assert (snapshot.total, snapshot.shrinks_to, snapshot.free) == (4 * GB, None, GB)
    pool.check()


def test_a_device_that_is_large_again_before_it_could_shrink_stays_as_it_is(pool: GPUMemoryPool) -> None:
    reserve(pool, "task-1", 8 * GB)
    assert not pool.resize(0)
    assert pool.resize(12 * GB)
    assert (pool.snapshot().total, pool.free_bytes) == (12 * GB, 3 * GB)
    pool.check()


def test_a_device_shrinks_when_the_process_that_held_the_memory_is_gone(pool: GPUMemoryPool) -> None:
    reserve(pool, "task-1", 8 * GB)
    pool.resize(3 * GB)
    pool.void_all()
    assert (pool.snapshot().total, pool.free_bytes) == (3 * GB, 2 * GB)
    pool.check()


def test_a_device_smaller_than_the_headroom_reserves_nothing(pool: GPUMemoryPool) -> None:
    assert pool.resize(GB // 2)
    assert pool.try_reserve("task-1", 1) is None
    pool.check()
    assert pool.resize(10 * GB)
    assert pool.free_bytes == 9 * GB


def test_all_reservations_end_with_the_process_that_held_the_memory(pool: GPUMemoryPool) -> None:
    task, model = reserve(pool, "task-1", GB), reserve(pool, model_owner("base"), 2 * GB)
    pool.void_all()
    assert (pool.reserved_bytes, task.nbytes, model.nbytes) == (0, 0, 0)
    task.release()
    assert (pool.reserved_bytes, pool.snapshot().double_releases) == (0, 0)
    pool.check()


def test_the_snapshot_tells_who_holds_what(pool: GPUMemoryPool) -> None:
    reserve(pool, CONTEXT_OWNER, GB // 2)
    reserve(pool, model_owner("base"), GB)
    reserve(pool, "task-1", 2 * GB)
    pool.observe(used_bytes=3 * GB)
    snapshot = pool.snapshot()
    assert (snapshot.total, snapshot.reserved, snapshot.used) == (10 * GB, 3 * GB + GB // 2, 3 * GB)
    assert snapshot.free == 10 * GB - GB - snapshot.reserved
    assert snapshot.models == {"base": GB}
    assert snapshot.capacity == 10 * GB - GB - GB // 2
    assert [entry.owner for entry in snapshot.reservations] == ["context", "model:base", "task-1"]


@pytest.mark.parametrize("headroom_bytes", [-1, 11])
def test_an_impossible_headroom_is_refused(headroom_bytes: int) -> None:
    with pytest.raises(ValueError, match="headroom"):
        GPUMemoryPool("cuda:0", 10, headroom_bytes=headroom_bytes)


def test_negative_bytes_are_refused(pool: GPUMemoryPool) -> None:
    with pytest.raises(ValueError, match="-1"):
        pool.try_reserve("task-1", -1)
    with pytest.raises(ValueError, match="-5"):
        pool.observe(used_bytes=-5)


def test_a_ledger_that_does_not_add_up_says_so_with_the_numbers(pool: GPUMemoryPool) -> None:
    reserve(pool, "task-1", GB)
    pool._unreserved += 7
    with pytest.raises(RuntimeError, match=r"cuda:0.*reserved 1000000000.*unreserved 8000000007.*task-1"):
        pool.check()


@pytest.mark.usefixtures("frequent_thread_switches")
def test_eight_threads_never_reserve_more_than_there_is(pool: GPUMemoryPool) -> None:
    barrier = Barrier(8)
    worst: list[int] = []
    errors: list[BaseException] = []

    def worker(seed: int) -> None:
        choose = random.Random(seed)
        barrier.wait(timeout=30)
        try:
            for _ in range(300):
                reservation = pool.try_reserve(f"task-{seed}", choose.randrange(4 * GB))
                worst.append(pool.reserved_bytes)
                if reservation is not None:
                    reservation.try_resize(choose.randrange(4 * GB))
                    pool.check()
                    reservation.release()
        except BaseException as error:  # noqa: BLE001  shown by the main thread
            errors.append(error)

    threads = [Thread(target=worker, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert max(worst) <= 9 * GB
    assert (pool.reserved_bytes, pool.free_bytes, pool.snapshot().double_releases) == (0, 9 * GB, 0)
    pool.check()


@pytest.mark.usefixtures("frequent_thread_switches")
def test_of_eight_threads_that_release_one_reservation_one_gives_the_memory_back(pool: GPUMemoryPool) -> None:
    keeper = reserve(pool, "task-2", GB)
    for _ in range(50):
        reservation = reserve(pool, "task-1", 2 * GB)
        barrier = Barrier(8)

        def release(shared: Reservation = reservation, start: Barrier = barrier) -> None:
            start.wait(timeout=30)
            shared.release()

        threads = [Thread(target=release) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert pool.reserved_bytes == GB
    assert (keeper.nbytes, pool.snapshot().double_releases) == (GB, 50 * 7)
    pool.check()
