"""When tasks are due, how owners' shares change that, and the bounds that follow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.queue.ordering import FIRST_COME, HALF_LIFE_S, MAX_PATIENCE_S, TARGET_SLOWDOWN, DueTimes, OwnerShares

DUE_TIMES = DueTimes(work_seconds=lambda model, audio_seconds: audio_seconds / 10)
LENGTHS = st.floats(0, 1e5)


def test_a_task_is_due_in_proportion_to_its_work() -> None:
    assert DUE_TIMES.due("base", 60.0, 100.0) == 100.0 + TARGET_SLOWDOWN * 6.0


def test_a_task_is_due_an_hour_after_its_arrival_at_the_latest() -> None:
    assert DUE_TIMES.due("base", 1e6, 100.0) == 100.0 + MAX_PATIENCE_S


def test_first_come_first_served_leaves_the_order_to_the_arrival() -> None:
    assert FIRST_COME.due("base", 1e6, 100.0) == FIRST_COME.due("tiny", 1.0, 200.0)


@given(first=st.floats(0, 1e6), gap=st.floats(0, 1e5), audio_seconds=LENGTHS, others_audio_seconds=LENGTHS)
def test_no_task_is_overtaken_by_one_that_arrives_later_than_the_patience(
    first: float, gap: float, audio_seconds: float, others_audio_seconds: float
) -> None:
    own = DUE_TIMES.due("base", audio_seconds, first)
    other = DUE_TIMES.due("base", others_audio_seconds, first + MAX_PATIENCE_S + gap)
    assert own <= other


@given(audio_seconds=LENGTHS, done=st.floats(0, 1))
def test_a_task_that_comes_back_is_due_no_later_than_before(audio_seconds: float, done: float) -> None:
    assert DUE_TIMES.due("base", audio_seconds * (1 - done), 5.0) <= DUE_TIMES.due("base", audio_seconds, 5.0)


def test_owners_are_set_back_by_what_they_had_beyond_the_least() -> None:
    shares = OwnerShares()
    shares.charge("a", 30.0, now=0.0)
    shares.charge("b", 10.0, now=0.0)
    assert shares.penalties(["a", "b"], now=0.0) == {"a": TARGET_SLOWDOWN * 20.0, "b": 0.0}
    assert shares.penalties(["a", "b", "new"], now=0.0)["a"] == TARGET_SLOWDOWN * 30.0
    assert shares.penalties(["a"], now=0.0) == {"a": 0.0}
    assert shares.penalties([], now=0.0) == {}


def test_what_an_owner_had_is_forgotten() -> None:
    shares = OwnerShares()
    shares.charge("a", 30.0, now=0.0)
    assert shares.penalty("a", now=HALF_LIFE_S) == pytest.approx(TARGET_SLOWDOWN * 15.0)


def test_refunded_work_is_not_held_against_the_owner() -> None:
    shares = OwnerShares()
    shares.charge("a", 30.0, now=0.0)
    shares.charge("a", -40.0, now=0.0)
    assert shares.penalty("a", now=0.0) == 0.0


def test_work_that_is_given_back_is_taken_off_a_penalty() -> None:
    shares = OwnerShares()
    shares.charge("a", 30.0, now=0.0)
    assert shares.penalty_after_refund("a", 10.0, now=0.0) == TARGET_SLOWDOWN * 20.0
    assert shares.penalty_after_refund("a", 40.0, now=0.0) == 0.0
    shares.charge("a", -10.0, now=0.0)
    assert shares.penalty("a", now=0.0) == TARGET_SLOWDOWN * 20.0


def test_owners_with_a_negligible_penalty_are_forgotten() -> None:
    shares = OwnerShares()
    for number in range(3000):
        shares.charge(f"o{number}", 0.001, now=number * 100.0)
    assert len(shares._penalties) <= 1001
