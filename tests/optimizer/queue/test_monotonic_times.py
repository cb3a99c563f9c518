"""Stored moments in the seconds of this run: exact while the wall clock is right, bounded when it is not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.queue.backoff import MAX_RETRY_DELAY_S
from optimizer.queue.monotonic_times import LONGEST_WAIT_S, arrival, arrival_reader, delay_end
from tests.optimizer.fakes import FakeClock

YEAR_S = 365 * 86400.0


def test_a_delay_ends_as_far_from_now_as_its_moment() -> None:
    clock = FakeClock()
    assert delay_end(clock, clock.now() + timedelta(seconds=20)) == clock.monotonic() + 20
    assert delay_end(clock, clock.now() - timedelta(seconds=20)) == clock.monotonic()
    assert delay_end(clock, None) == clock.monotonic()


def test_after_a_jump_of_the_wall_clock_no_delay_is_longer_than_the_longest() -> None:
    clock = FakeClock()
    assert delay_end(clock, clock.now() + timedelta(seconds=YEAR_S)) == clock.monotonic() + MAX_RETRY_DELAY_S


@given(st.floats(-YEAR_S, YEAR_S))
def test_reading_many_arrivals_gives_what_reading_each_gives(ago_s: float) -> None:
    clock = FakeClock()
    created_at = clock.now() - timedelta(seconds=ago_s)
    read = arrival_reader(clock)(created_at.isoformat())
    assert read == pytest.approx(arrival(clock, created_at), abs=1e-3)
    assert clock.monotonic() - LONGEST_WAIT_S <= read <= clock.monotonic()
