"""On a GPU a window's end is read one step late, from a copy; nothing is lost and nothing is reported twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.whisper_core.engine.fake_cuda import FakeStream, fake_cuda
from whisper_core.engine.decoding.finished_rows import LaggedReadback
from whisper_core.engine.decoding.row_state import SampledRows

ROWS = 4


@pytest.fixture(autouse=True)
def stream() -> Iterator[FakeStream]:
    with fake_cuda() as current:
        yield current


@dataclass(eq=False)
class Searching:
    """A sequence, as far as a readback needs it."""

    slot: int
    search: SimpleNamespace


def sequence(slot: int, width: int = 1) -> Any:
    return Searching(slot, SimpleNamespace(is_complete=False, width=width))


@pytest.fixture
def rows() -> SampledRows:
    """All active, each with its number as its only token."""
    rows = SampledRows.empty(ROWS, 8, torch.device("cpu"))
    rows.is_active.fill_(True)
    rows.tokens[:, 0] = torch.arange(ROWS)
    return rows


@pytest.fixture
def readback(rows: SampledRows) -> LaggedReadback:
    readback = LaggedReadback()
    readback.read_from(rows)
    return readback


def test_an_end_is_seen_one_step_later(readback: LaggedReadback, rows: SampledRows) -> None:
    first, second = sequence(0), sequence(1)
    rows.is_active[1] = 0
    assert readback.finished([first, second], ROWS) == []
    assert readback.finished([first, second], ROWS) == [second]


def test_only_the_step_before_is_waited_for(readback: LaggedReadback, stream: FakeStream) -> None:
    only = sequence(0)
    for _ in range(3):
        readback.finished([only], ROWS)
    assert [event.was_waited_for for event in stream.events] == [True, True, False]


def test_the_result_is_what_the_rows_were_then(readback: LaggedReadback, rows: SampledRows) -> None:
    """Another window is in the slot by now, say."""
    first, second = sequence(0), sequence(1)
    rows.is_active[1] = 0
    readback.finished([first, second], ROWS)
    rows.tokens.fill_(-1)
    rows.is_active.fill_(True)
    readback.finished([first, second], ROWS)
    assert readback.rows_of(second).tokens[:, 0].tolist() == [1]


def test_rows_are_found_by_slot(readback: LaggedReadback, rows: SampledRows) -> None:
    first, second, third = sequence(3), sequence(0), sequence(2)
    rows.is_active[2] = 0
    readback.finished([first, second, third], ROWS)
    assert readback.finished([third, second], ROWS) == [third]
    assert readback.rows_of(third).tokens[:, 0].tolist() == [2]


def test_a_sequence_that_has_left_is_not_reported(readback: LaggedReadback, rows: SampledRows) -> None:
    first, second, successor = sequence(0), sequence(1), sequence(1)
    rows.is_active[:2] = 0
    readback.finished([first, second], ROWS)
    assert readback.finished([first, successor], ROWS) == [first]


def test_a_sequence_is_reported_once(readback: LaggedReadback, rows: SampledRows) -> None:
    first, second = sequence(0), sequence(1)
    rows.is_active[1] = 0
    readback.finished([first, second], ROWS)
    assert readback.finished([first, second], ROWS) == [second]
    assert readback.finished([first], ROWS) == [], "though the copy in between holds it too"


def test_a_sequence_that_is_not_answered_yet_is_reported_again(readback: LaggedReadback, rows: SampledRows) -> None:
    only = sequence(1)
    rows.is_active[1] = 0
    assert [readback.finished([only], ROWS) for _ in range(3)] == [[], [only], [only]]
    assert readback.rows_of(only).tokens[:, 0].tolist() == [1]


def test_what_an_empty_slot_batch_left_behind_does_no_harm(readback: LaggedReadback, rows: SampledRows) -> None:
    old, new = sequence(0), sequence(0)
    rows.is_active[0] = 0
    readback.finished([old], ROWS)
    readback.finished([old], ROWS)
    rows.is_active[0] = 1
    assert readback.finished([new], ROWS) == []
    rows.is_active[0] = 0
    assert [readback.finished([new], ROWS) for _ in range(2)] == [[], [new]]


def test_memory_that_moves_loses_no_copy_under_way(readback: LaggedReadback, rows: SampledRows) -> None:
    only = sequence(2)
    rows.is_active[2] = 0
    readback.finished([only], ROWS)
    moved = SampledRows(rows.record.clone())
    readback.read_from(moved)
    rows.record.fill_(1)
    assert readback.finished([only], ROWS) == [only]
    assert readback.rows_of(only).tokens[:, 0].tolist() == [2]


def test_beams_are_seen_at_once(readback: LaggedReadback, rows: SampledRows, stream: FakeStream) -> None:
    """Otherwise upstream's search would take one token too many."""
    beams, others = sequence(0, width=2), sequence(1, width=2)
    rows.is_active[:2] = 0
    assert readback.finished([beams, others], ROWS, may_lag=False) == [beams]
    assert stream.events[-1].was_waited_for
    assert readback.rows_of(beams).tokens[:, 0].tolist() == [0, 1]


def test_a_complete_beam_search_has_ended_whatever_its_rows_say(readback: LaggedReadback) -> None:
    beams = sequence(0, width=2)
    beams.search.is_complete = True
    assert readback.finished([beams], ROWS, may_lag=False) == [beams]
