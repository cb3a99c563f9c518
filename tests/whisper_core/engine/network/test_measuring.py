"""The fastest of several ways is found by measuring."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from whisper_core.engine.network.measuring import fastest

Ways = Mapping[str, Callable[[], Tensor]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def taking(clock: list[float], *seconds: float) -> Callable[[], Tensor]:
    left = iter(seconds)

    def way() -> Tensor:
        clock[0] += next(left)
        return torch.zeros(1)

    return way


@pytest.mark.parametrize(
    ("second_s", "chosen"),
    [((0.1, 0.3, 0.3, 0.3), "second"), ((0.9, 0.199, 0.3, 0.3), "first"), ((0.9, 0.9, 0.9, 0.9), "first")],
)
def test_the_first_way_stays_unless_another_s_fastest_time_is_clearly_less(
    second_s: tuple[float, ...], chosen: str, clock: list[float]
) -> None:
    ways = {"first": taking(clock, 0.9, 0.4, 0.2, 0.4), "second": taking(clock, *second_s)}
    choice = fastest(ways, state=384)
    assert choice.name == chosen
    assert choice.milliseconds == pytest.approx({"first": 200, "second": 1000 * min(second_s)})


def test_small_models_are_not_measured() -> None:
    ways: Ways = {"first": lambda: pytest.fail("measured"), "second": lambda: pytest.fail("measured")}
    assert fastest(ways, state=64).name == "first"


def test_a_way_that_takes_far_too_long_is_tried_once(clock: list[float]) -> None:
    ways = {"first": taking(clock, 2, 1, 1, 1), "endless": taking(clock, 60)}
    assert fastest(ways, state=384).name == "first"
