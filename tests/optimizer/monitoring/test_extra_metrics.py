"""Metrics that other packages bring: what is made of good ones, and what bad ones cannot do."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, cast

import pytest

from errors import InvalidSettingsError
from optimizer.monitoring import metric as module
from optimizer.monitoring.extra_metrics import ExtraMetrics
from optimizer.monitoring.figures import Figures
from optimizer.monitoring.metric import Metric, metrics_named
from optimizer.monitoring.samples import merged
from tests.optimizer.fakes import FakeClock
from tests.optimizer.monitoring.test_samples import sample

INTERVAL_S = 30.0
FIGURES = cast(Figures, None)  # none of the metrics here looks at them


def metrics(clock: FakeClock, *reads: Any) -> ExtraMetrics:
    made = [Metric(read, f"Number {number}", f"m{number}") for number, read in enumerate(reads)]
    return ExtraMetrics(made, clock, INTERVAL_S)


def values(extra: ExtraMetrics) -> dict[str, float]:
    return {each.name: each.value for each in extra.values()}


@pytest.mark.parametrize(
    "read",
    [lambda _: 1 / 0, lambda _: "7", lambda _: float("nan"), lambda _: [1], lambda _: sys.exit(), lambda: 1],
    ids=["raises", "text", "nan", "list", "exits", "takes nothing"],
)
def test_a_bad_one_is_named_once_and_the_others_are_read(
    read: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    extra = metrics(clock, read, lambda _: None, lambda _: True)
    for _ in range(3):
        extra.read_all(FIGURES)
    assert values(extra) == {"m2": 1.0}
    (record,) = caplog.records
    assert (record.levelno, "metric=m0" in record.getMessage()) == (logging.ERROR, True)


def test_one_that_fails_now_and_then_has_gaps_and_is_told_of_again(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([1.0, "x", 2.0, "x"])
    extra = metrics(clock, lambda _: next(answers))
    seen = []
    for _ in range(4):
        extra.read_all(FIGURES)
        seen.append(values(extra))
    assert seen == [{"m0": 1.0}, {}, {"m0": 2.0}, {}]
    assert len(caplog.records) == 2


def test_one_that_hangs_holds_up_nobody_and_its_old_value_is_not_told_for_ever(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    is_hanging, goes_on = threading.Event(), threading.Event()

    def hang(_: Figures) -> float:
        is_hanging.set()
        goes_on.wait(20)
        return 2.0

    extra = metrics(clock, lambda _: 1.0, hang)
    extra.start(lambda: FIGURES)
    assert is_hanging.wait(20)
    assert values(extra) == {"m0": 1.0}
    assert caplog.records == []
    clock.advance(3.5 * INTERVAL_S)
    assert values(extra) == values(extra) == {}
    (record,) = caplog.records
    assert "metric=m1 reason='it has not returned" in record.getMessage()
    goes_on.set()
    extra.stop()


def test_without_any_there_is_no_thread(clock: FakeClock) -> None:
    before = threading.active_count()
    extra = metrics(clock)
    extra.start(lambda: FIGURES)
    assert threading.active_count() == before
    extra.stop()


def test_merged_samples_have_the_mean_of_those_that_have_a_value() -> None:
    parts = [sample(0, 30, extra={"a": 1.0}), sample(60, 60, extra={"a": 4.0, "b": 5.0}), sample(90)]
    assert merged(parts).extra == {"a": 3.0, "b": 5.0}


# --- what the setting names -------------------------------------------------------------------------------------------


def lit_lamps(_: Figures) -> float:
    """Lamps that are lit.

    All over the house.
    """
    return 4.0


def test_a_function_is_called_as_its_entry_point_and_titled_by_its_docstring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load", lambda _seam, _name: lit_lamps)
    first, second = metrics_named(["Lamps-Lit", "some.module:lit_lamps"])
    assert (first.name, first.title, second.name) == ("lamps_lit", "Lamps that are lit", "lit_lamps")


@pytest.mark.parametrize(
    ("found", "names", "reason"),
    [
        (7, ["a"], "neither a Metric nor a function"),
        (Metric, ["a"], "neither a Metric nor a function"),
        (Metric(cast(Any, None), "none"), ["a"], "neither a Metric nor a function"),
        (lit_lamps, ["a", "A"], "two that are called a"),
        (Metric(lit_lamps, "x", "lit lamps"), ["a"], "'lit lamps' is no name"),
        (lit_lamps, ["7"], "'7' is no name"),
    ],
)
def test_what_is_no_metric_stops_the_start(
    found: object, names: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load", lambda _seam, _name: found)
    with pytest.raises(InvalidSettingsError, match=reason):
        metrics_named(names)
