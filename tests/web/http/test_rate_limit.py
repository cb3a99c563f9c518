"""A token bucket for each."""

from __future__ import annotations

import pytest

from errors import TooManyRequestsError
from tests.optimizer.fakes import FakeClock
from web.http import rate_limit
from web.http.rate_limit import RateLimiter


def test_so_many_a_minute_at_once_and_then_one_after_the_other() -> None:
    clock = FakeClock()
    limiter = RateLimiter(6, clock.monotonic)
    for _ in range(6):
        limiter.take("alice")
    limiter.take("mallory")
    with pytest.raises(TooManyRequestsError) as refused:
        limiter.take("alice")
    assert refused.value.retry_after_s == 10
    clock.advance(10)
    limiter.take("alice")
    with pytest.raises(TooManyRequestsError):
        limiter.take("alice")
    clock.advance(3600)
    for _ in range(6):
        limiter.take("alice")
    with pytest.raises(TooManyRequestsError):
        limiter.take("alice")


def test_0_is_no_limit() -> None:
    limiter = RateLimiter(0)
    for _ in range(1000):
        limiter.take("alice")
    assert len(limiter._buckets) == 0


def test_the_memory_of_who_asked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MAX_BUCKETS", 3)
    limiter = RateLimiter(1, FakeClock().monotonic)
    for who in ("a", "b", "c", "d"):
        limiter.take(who)
    limiter.take("a")  # forgotten
    with pytest.raises(TooManyRequestsError):
        limiter.take("d")
