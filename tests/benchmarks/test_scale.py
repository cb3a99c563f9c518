"""The simulation with several cards, on a small trace, and that docs/scale.md says what was found. No figure of time is
tested."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from benchmarks.scheduling import capacity, loop_costs, tables
from benchmarks.scheduling.event_calendar import Calendar
from benchmarks.scheduling.scale import OWNERS, ScaleSimulation, ScaleSpec, as_fast_as, round_costs, run, simulate
from benchmarks.scheduling.scenarios import SLOTS, read_service
from benchmarks.scheduling.service_shares import ServiceShares, jain_index
from benchmarks.scheduling.store_costs import measure
from benchmarks.scheduling.traces import TraceSpec
from optimizer.queue.ordering import MAX_PATIENCE_S
from tests.paths import ROOT

SPEC = ScaleSpec(cards=4, tasks=600, load=1.0)


@cache
def simulated() -> ScaleSimulation:
    return simulate(SPEC, read_service()[0])[0]


def test_every_task_ends_once_and_none_is_left() -> None:
    simulation = simulated()
    assert simulation.completed == len(simulation.outcome.responses) == SPEC.tasks
    assert sum(simulation.started) == SPEC.tasks + simulation.outcome.stepped_aside
    assert sum(map(len, simulation.waits.values())) == len(simulation.outcome.waits) == SPEC.tasks
    assert all(not engine.running for engine in simulation.engines)


def test_no_card_is_over_its_memory_and_nobody_is_passed_for_too_long() -> None:
    """The ledger refuses what it has not got, which would have ended the simulation."""
    assert simulated().outcome.over_memory == 0
    assert simulated().outcome.passed_most <= MAX_PATIENCE_S


def test_while_tasks_have_to_wait_owners_get_similar_shares() -> None:
    simulation = simulated()
    assert simulation.contended_rounds > 0
    ratios = simulation.shares.ratios(least_entitled_s=40.0)
    assert len(ratios) >= 5
    assert jain_index(ratios.values()) > 0.75


def test_cards_get_similar_work() -> None:
    work = [engine.served_in_all for engine in simulated().engines]
    assert min(work) > 0.8 * max(work)


def test_the_same_seed_gives_the_same_simulation() -> None:
    again, _ = simulate(SPEC, read_service()[0])
    assert again.outcome.waits == simulated().outcome.waits


def test_rounds_that_are_further_apart_are_fewer_and_lose_no_task() -> None:
    often, seldom = (
        simulate(ScaleSpec(cards=4, tasks=200, round_interval_s=interval), read_service()[0])[0]
        for interval in (0.0, 5.0)
    )
    assert len(seldom.started) < len(often.started)
    assert often.completed == seldom.completed == 200


def test_a_row_has_every_figure_of_the_table() -> None:
    row = run(ScaleSpec(cards=2, tasks=50), read_service()[0])
    found = {"machine": "m", "date": "d", "command": "c", "rows": [json.loads(json.dumps(row, default=vars))]}
    assert "| cards | 2 |" in tables.scale(found)


def test_rounds_in_which_nothing_waits_are_told_from_others() -> None:
    spec, service = ScaleSpec(cards=6, tasks=600, load=0.4), read_service()[0]
    simulation, costs = simulate(spec, service)[0], round_costs(spec, service)
    assert min(simulation.left) == 0 < max(simulation.left)
    assert 0 < costs.rounds < len(simulation.started)
    assert 0 < costs.started_most <= max(simulation.started)


def test_the_loop_is_measured_with_real_devices_that_are_full() -> None:
    device = loop_costs._busy_device(0, slots=3)
    assert (device.is_ready, len(device.running), set(device.pool.snapshot().models)) == (True, 3, {"base"})
    assert loop_costs.measure(2, read_service()[0]).devices == 2


def test_a_card_gets_as_much_done_as_was_said() -> None:
    service = as_fast_as(read_service()[0], 50.0)
    seconds_of_work = sum(0.5 / speed for speed in service.speeds.values())  # for a second of sound, half of each model
    assert service.gain.at(SLOTS) / seconds_of_work == pytest.approx(50.0)


def test_the_first_owner_brings_so_many_times_as_much_as_the_last() -> None:
    weights = TraceSpec(1, 1.0, owners=OWNERS, heaviest=100.0).weights()
    assert weights[0] / weights[-1] == pytest.approx(100.0)
    assert sorted(weights, reverse=True) == weights


def test_a_calendar_names_what_is_due_and_only_the_latest_time_of_each() -> None:
    calendar = Calendar()
    for name, at in (("a", 5.0), ("b", 2.0), ("c", 3.0), ("a", 1.0), ("c", float("inf"))):
        calendar.set(name, at)
    assert calendar.next_time() == 1.0
    assert calendar.pop_due(4.0) == ["a", "b"]
    assert calendar.next_time() == float("inf")


def test_shares_count_only_while_tasks_have_to_wait() -> None:
    shares = ServiceShares()
    for owner in "aab":
        shares.wait(owner)
    shares.start("a", 10.0, is_contended=False)
    shares.start("a", 30.0, is_contended=True)
    shares.start("b", 10.0, is_contended=True)
    assert shares.ratios(1.0) == {"a": 30 / 15, "b": 10 / 25}
    assert shares.ratios(20.0) == {"b": 10 / 25}


def test_jain_s_index_is_one_for_equals_and_one_in_n_for_one_who_has_everything() -> None:
    assert jain_index([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain_index([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain_index([]) == 1.0


def table_of(name: str) -> str:
    text = (ROOT / "docs" / "scale.md").read_text()
    found = re.search(rf"<!-- {name}:begin -->\n(.*)\n<!-- {name}:end -->", text, re.S)
    assert found is not None
    return found[1]


def found_by(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((ROOT / "docs" / "scheduling" / f"{name}.json").read_text())
    return found


def test_the_document_has_the_tables_of_what_was_found() -> None:
    for part in ("scale", "rounds", "loop"):
        assert table_of(part) == tables.WRITERS[part](found_by(part))
    assert table_of("store") == capacity.store_table(found_by("store"))
    assert table_of("capacity") == capacity.capacity(capacity.Assumed(), found_by("store"))


def test_a_million_hours_a_day_take_what_the_arithmetic_says() -> None:
    store = {"transactions": 12, "rows": {"tasks": 1.0}, "database_bytes": 10_000.0, "transcript_bytes": 20_000.0}
    figures = {line.name: line.figure(1e6) for line in capacity.lines(capacity.Assumed(peak=1.0), [50.0], store)}
    assert figures["sound in the busiest hour"] == pytest.approx(1e6 / 24)
    assert figures["cards at 50 × real time"] == 981
    assert figures["tasks a day"] == 15_000_000
    assert figures["samples to nodes"] == pytest.approx(1e6 / 24 * 3600 * 32_000 * 8 / 3600)
    assert figures["rows kept"] == 450_000_000


def test_what_a_task_leaves_in_the_store_is_counted(tmp_path: Path) -> None:
    costs = measure(tmp_path, tasks=3, audio_seconds=60.0)
    assert costs.rows == {"tasks": 1.0, "task_texts": 1.0, "task_events": costs.rows["task_events"]}
    assert costs.window_rows == 2
    assert costs.transcript_bytes > 1000
