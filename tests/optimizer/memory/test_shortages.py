"""After a task ran out of memory its estimate is larger, for a while and up to a bound."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from optimizer.memory.costs import ConcurrentTasks
from optimizer.memory.estimator import MemoryEstimationPool
from tests.optimizer.memory.helpers import ONE_MINUTE, run_out, teach


@pytest.mark.parametrize("measurements", [0, 20])
def test_after_a_shortage_the_estimate_is_larger_up_to_a_bound(measurements: int) -> None:
    pool = MemoryEstimationPool(1.2)
    teach(pool, ONE_MINUTE, 1.0, measurements)
    first = pool.task_bytes("base", "cpu", 60.0)
    second = run_out(pool, first)
    assert second == pytest.approx(1.5 * first, rel=0.01)
    assert run_out(pool, second) == pytest.approx(2.25 * first, rel=0.01)
    for _ in range(20):
        last = run_out(pool, pool.task_bytes("base", "cpu", 60.0))
    assert last == pytest.approx(4 * first, rel=0.01)


@given(
    model=st.sampled_from(("tiny", "base")),
    lengths=st.lists(st.floats(0, 5_000), max_size=16),
    factor=st.floats(0.1, 9),
    audio_seconds=st.floats(0, 5_000),
)
@example(model="tiny", lengths=[0.0, 4193.0], factor=9.0, audio_seconds=0.0)  # was four times and two bytes
def test_a_shortage_raises_an_estimate_to_four_times_at_most_and_not_a_byte_more(
    model: str, lengths: list[float], factor: float, audio_seconds: float
) -> None:
    pool = MemoryEstimationPool(1.2)
    if lengths:
        together = sum(pool.task_bytes(model, "cuda", seconds) for seconds in lengths)
        pool.record(model, "cuda", ConcurrentTasks.of(lengths), peak_bytes=int(factor * together / len(lengths)))
    before = pool.task_bytes(model, "cuda", audio_seconds)
    pool.record_out_of_memory(model, "cuda", audio_seconds, False, 100 * before)
    assert before <= pool.task_bytes(model, "cuda", audio_seconds) <= 4 * before


def test_tasks_that_met_the_same_shortage_raise_the_estimate_once() -> None:
    pool = MemoryEstimationPool(1.2)
    reserved = pool.task_bytes("base", "cpu", 60.0)
    assert len({run_out(pool, reserved) for _ in range(16)}) == 1


def test_what_a_shortage_raised_falls_with_tasks_that_run_well() -> None:
    pool = MemoryEstimationPool(1.2)
    teach(pool, ONE_MINUTE, 1.0, 20)
    before = pool.task_bytes("base", "cpu", 60.0)
    raised = run_out(pool, before)
    teach(pool, ONE_MINUTE, 1.0, 10)
    assert before < pool.task_bytes("base", "cpu", 60.0) < (before + raised) / 2
    teach(pool, ONE_MINUTE, 1.0, 90)
    assert pool.task_bytes("base", "cpu", 60.0) == pytest.approx(before, rel=0.01)


def test_what_a_shortage_raised_falls_with_time_when_no_such_task_can_run() -> None:
    pool = MemoryEstimationPool(1.2)
    before = pool.task_bytes("base", "cpu", 60.0)
    run_out(pool, before)
    for _ in range(200):
        pool.relieve()
    assert pool.task_bytes("base", "cpu", 60.0) == before
