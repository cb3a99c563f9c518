"""The samples of a week: what thinning keeps, whatever the samples, and what is there after it on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.monitoring import sample_store
from optimizer.monitoring.sample_store import SampleStore
from optimizer.monitoring.samples import DAY_S, HOUR_S, KEPT_FOR_S, DeviceSample, Sample, bucketed, merged, thinned
from optimizer.storage.schema import samples as samples_table
from optimizer.storage.store import TaskStore
from tests.optimizer.fakes import FakeClock

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

NOW = 1_800_000_000.0


def sample(at: float, span_seconds: float = 30.0, **changes: object) -> Sample:
    given: dict[str, object] = {
        "throughput": 10.0,
        "running": 2.0,
        "waiting": 4.0,
        "retrying": 0.0,
        "started": 2,
        "completed": 1,
        "failed": 0,
        "mean_wait_seconds": 3.0,
        "p95_wait_seconds": 5.0,
        "occupancy": 0.25,
        "devices": {"cpu": DeviceSample(1000, 0, 300, 200, 0, {"base": 100})},
        "speeds": {"cpu": {"base": 5.0}},
    }
    return Sample(at=at, span_seconds=span_seconds, **(given | changes))  # type: ignore[arg-type]


@st.composite
def weeks(draw: st.DrawFn) -> list[Sample]:
    """Samples of up to ten days, with gaps, in order of time."""
    spans = draw(st.lists(st.floats(1, 3600), min_size=1, max_size=60))
    at, made = NOW - draw(st.floats(0, 10 * DAY_S)), []
    for span in spans:
        at += span + draw(st.sampled_from([0.0, 0.0, 7000.0]))
        waits = draw(st.one_of(st.none(), st.floats(0, 1e4)))
        made.append(
            sample(
                at,
                span,
                throughput=draw(st.floats(0, 1e4)),
                waiting=draw(st.floats(0, 1e5)),
                started=0 if waits is None else draw(st.integers(1, 50)),
                completed=draw(st.integers(0, 50)),
                mean_wait_seconds=waits,
                p95_wait_seconds=waits,
                devices={"cpu": DeviceSample(1000, 0, draw(st.integers(0, 1000)), draw(st.integers(0, 1000)), 0)},
            )
        )
    return [each for each in made if each.at <= NOW] or [sample(NOW)]


def weighted(parts: list[Sample], name: str) -> float:
    return sum(getattr(part, name) * part.span_seconds for part in parts)


@given(weeks())
def test_thinning_keeps_the_sound_done_the_tasks_counted_and_the_time_itself(week: list[Sample]) -> None:
    remembered = [part for part in week if NOW - part.at <= KEPT_FOR_S]
    kept = thinned(week, NOW)
    for name in ("throughput", "waiting", "running", "occupancy"):
        assert weighted(kept, name) == pytest.approx(weighted(remembered, name), rel=1e-9, abs=1e-6)
    assert sum(part.span_seconds for part in kept) == pytest.approx(sum(part.span_seconds for part in remembered))
    for name in ("started", "completed", "failed"):
        assert sum(getattr(part, name) for part in kept) == sum(getattr(part, name) for part in remembered)
    waited = sum((part.mean_wait_seconds or 0.0) * part.started for part in kept)
    assert waited == pytest.approx(sum((part.mean_wait_seconds or 0.0) * part.started for part in remembered))
    peaks = [max((part.devices["cpu"].used for part in parts), default=0) for parts in (kept, remembered)]
    assert peaks[0] == peaks[1]


@given(weeks())
def test_thinning_keeps_the_order_and_is_done_once(week: list[Sample]) -> None:
    kept = thinned(week, NOW)
    assert all(earlier.at < later.at for earlier, later in pairwise(kept))
    assert thinned(kept, NOW) == kept
    assert [part for part in kept if NOW - part.at < HOUR_S] == [part for part in week if NOW - part.at < HOUR_S]


@given(weeks(), st.floats(0, 3 * DAY_S))
def test_thinning_step_by_step_gives_what_thinning_at_once_gives(week: list[Sample], later: float) -> None:
    at_once, in_steps = thinned(week, NOW + later), thinned(thinned(week, NOW), NOW + later)
    assert [part.at for part in in_steps] == [part.at for part in at_once]
    for one, other in zip(at_once, in_steps, strict=True):
        assert one.throughput == pytest.approx(other.throughput)
        assert one.devices == other.devices


def test_merged_rates_are_means_over_time_counts_are_sums_and_memory_is_the_peak() -> None:
    together = merged(
        [
            sample(30, 30, throughput=30.0, started=1, mean_wait_seconds=2.0, p95_wait_seconds=2.0),
            sample(
                40,
                10,
                throughput=10.0,
                started=3,
                mean_wait_seconds=6.0,
                p95_wait_seconds=9.0,
                devices={"cpu": DeviceSample(2000, 50, 100, 900, 70, {"base": 80, "tiny": 20})},
                speeds={"cpu": {"base": 9.0, "tiny": 30.0}},
            ),
        ]
    )
    assert (together.at, together.span_seconds, together.throughput) == (40, 40, 25.0)
    assert (together.started, together.completed) == (4, 2)
    assert (together.mean_wait_seconds, together.p95_wait_seconds) == (5.0, 9.0)
    assert together.devices == {"cpu": DeviceSample(2000, 50, 300, 900, 70, {"base": 100, "tiny": 20})}
    assert together.speeds == {"cpu": {"base": 6.0, "tiny": 30.0}}


def test_a_bucket_without_a_start_has_no_wait() -> None:
    quiet = [sample(at, started=0, mean_wait_seconds=None, p95_wait_seconds=None) for at in (30, 60)]
    assert (merged(quiet).mean_wait_seconds, merged(quiet).p95_wait_seconds) == (None, None)


def test_a_bucket_is_merged_when_it_is_over_and_not_before() -> None:
    """The quarter hour that is a day old in part is left alone: more of it would come later."""
    begin = (NOW - DAY_S) // 900 * 900
    quarter = [sample(begin + 120 * step) for step in range(7)]
    assert len(thinned(quarter, begin + 900 + DAY_S - 1)) == 7
    assert len(thinned(quarter, begin + 900 + DAY_S)) == 1


# --- on a database ---------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TaskStore]:
    opened = TaskStore(tmp_path)
    opened.open()
    yield opened
    opened.close()


def test_two_days_of_samples_are_few_rows_and_all_of_the_time(store: TaskStore, clock: FakeClock) -> None:
    kept, ticks = SampleStore(store.database, clock), 2 * 24 * 12
    for tick in range(ticks):
        clock.advance(300)
        kept.add(sample(clock.now().timestamp(), 300, throughput=float(tick)))
    found = kept.read(168)
    assert sum(part.span_seconds for part in found) == ticks * 300
    assert weighted(found, "throughput") == pytest.approx(300 * sum(range(ticks)))
    assert len(found) < ticks * 0.7
    assert len(kept.read(1)) == 13


def test_one_answer_has_a_bounded_number_of_points(
    store: TaskStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_store, "MAX_POINTS", 20)
    kept = SampleStore(store.database, clock)
    for _ in range(60):
        clock.advance(10)
        kept.add(sample(clock.now().timestamp(), 10))
    assert 15 <= len(kept.read(0.2)) <= 20
    assert weighted(kept.read(0.2), "throughput") == pytest.approx(60 * 10 * 10.0)


def test_a_clock_that_was_set_back_costs_no_sample_of_now(store: TaskStore, clock: FakeClock) -> None:
    kept = SampleStore(store.database, clock)
    kept.add(sample(clock.now().timestamp(), throughput=1.0))
    kept.add(sample(clock.now().timestamp(), throughput=2.0))
    assert [part.throughput for part in kept.read(1)] == [2.0]


def test_a_damaged_row_is_a_gap(store: TaskStore, clock: FakeClock) -> None:
    kept = SampleStore(store.database, clock)
    kept.add(sample(clock.now().timestamp()))
    with store.database.writing() as connection:
        for number, text in enumerate(["{", "[]", "{}", '{"devices": 3}']):
            row = {"at": clock.now().timestamp() - 1 - number, "span_seconds": 30.0, "data": text}
            connection.execute(samples_table.insert().values(row))
    assert kept.read(1) == [sample(clock.now().timestamp())]


def test_bucketed_gives_one_sample_a_bucket() -> None:
    assert [part.at for part in bucketed([sample(at) for at in (10, 20, 110, 130, 350)], 100)] == [20, 130, 350]
