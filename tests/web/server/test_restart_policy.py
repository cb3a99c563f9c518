"""What the master does when its worker process has ended, with a clock that is moved by hand."""

from __future__ import annotations

from itertools import count

from web.server.restart_policy import DEATHS_WINDOW_S, MAX_DEATHS, UNHEALTHY_EXIT_CODE, RestartPolicy


def exit_codes(seconds_apart: float) -> list[int | None]:
    times = count(0.0, seconds_apart)
    policy = RestartPolicy(lambda: next(times))
    return [policy.exit_code_after_death() for _ in range(MAX_DEATHS)]


def test_a_worker_that_dies_again_and_again_ends_the_server() -> None:
    assert exit_codes(seconds_apart=1.0) == [None] * (MAX_DEATHS - 1) + [UNHEALTHY_EXIT_CODE]


def test_a_worker_that_dies_now_and_then_is_started_again() -> None:
    assert exit_codes(seconds_apart=DEATHS_WINDOW_S) == [None] * MAX_DEATHS


def test_a_failed_start_ends_the_server_with_the_code_of_the_failure() -> None:
    policy = RestartPolicy()
    policy.record_failed_start(3)
    assert policy.has_failed_start
    assert policy.exit_code_after_death() == 3
