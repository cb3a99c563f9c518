"""On a GPU a window's end is read one step late, from a copy; nothing is lost and nothing is reported twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.whisper_core.engine.fake_cuda import FakeStream, fake_cuda
from whisper_core.engine.decoding.finished_rows import ImmediateReadback, LaggedReadback, readback_for
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.network.dims import CrossForm, DecoderDims

ROWS = 4


@pytest.fixture(autouse=True)
def stream() -> Iterator[FakeStream]:
    with fake_cuda() as current:
        yield current


@dataclass(eq=False)
class Searching:
    """A sequence, as far as a readback needs it."""

    search: SimpleNamespace


def sequence(*, may_lag: bool = True, width: int = 1) -> Any:
    return Searching(SimpleNamespace(is_complete=False, may_lag=may_lag, width=width))


@pytest.fixture
def state() -> RowState:
    """All rows active, each with its number as its only token."""
    dims = DecoderDims(1, 1, 1, 1, 8, 1, torch.device("cpu"), torch.float32, CrossForm(False, False))
    state = RowState.empty(dims, ROWS)
    state.sampled.is_active.fill_(True)
    state.sampled.tokens[:, 0] = torch.arange(ROWS)
    return state


def finished(readback: Any, sequences: list[Any], state: RowState) -> list[Any]:
    rows = sum(sequence.search.width for sequence in sequences)
    ended: list[Any] = readback.finished(sequences, state.rows(0, rows))
    return ended


def test_each_device_has_its_own() -> None:
    assert isinstance(readback_for(torch.device("cpu")), ImmediateReadback)
    assert isinstance(readback_for(torch.device("cuda")), LaggedReadback)


def test_the_cpu_sees_an_end_at_once(state: RowState) -> None:
    readback, first, second = ImmediateReadback(), sequence(), sequence()
    state.sampled.is_active[1] = 0
    assert finished(readback, [first, second], state) == [second]
    assert int(readback.rows_of(second).tokens[0, 0]) == 1


def test_an_end_is_seen_one_step_later(state: RowState) -> None:
    readback, first, second = LaggedReadback(), sequence(), sequence()
    state.sampled.is_active[1] = 0
    assert finished(readback, [first, second], state) == []
    assert finished(readback, [first, second], state) == [second]


def test_only_the_step_before_is_waited_for(state: RowState, stream: FakeStream) -> None:
    readback, only = LaggedReadback(), sequence()
    for _ in range(3):
        finished(readback, [only], state)
    assert [event.was_waited_for for event in stream.events] == [True, True, False]


def test_the_result_is_what_the_rows_were_then(state: RowState) -> None:
    """The slot batch has moved another window into the slot meanwhile, say."""
    readback, first, second = LaggedReadback(), sequence(), sequence()
    state.sampled.is_active[1] = 0
    finished(readback, [first, second], state)
    state.sampled.tokens.fill_(-1)
    state.sampled.is_active.fill_(True)
    finished(readback, [first, second], state)
    assert readback.rows_of(second).tokens[:, 0].tolist() == [1]


def test_rows_are_found_by_where_they_were(state: RowState) -> None:
    readback, first, second, third = LaggedReadback(), sequence(), sequence(), sequence()
    state.sampled.is_active[2] = False
    finished(readback, [first, second, third], state)
    assert finished(readback, [third, second], state) == [third], "it has moved into the first slot"
    assert readback.rows_of(third).tokens[:, 0].tolist() == [2]


def test_a_sequence_that_has_left_is_not_reported(state: RowState) -> None:
    readback, first, second, successor = LaggedReadback(), sequence(), sequence(), sequence()
    state.sampled.is_active[:2] = False
    finished(readback, [first, second], state)
    assert finished(readback, [first, successor], state) == [first]


def test_a_sequence_is_reported_once(state: RowState) -> None:
    readback, first, second = LaggedReadback(), sequence(), sequence()
    state.sampled.is_active[1] = 0
    finished(readback, [first, second], state)
    assert finished(readback, [first, second], state) == [second]
    assert finished(readback, [first], state) == [], "though the copy in between holds it too"


def test_the_last_one_is_not_lost(state: RowState) -> None:
    readback, only = LaggedReadback(), sequence()
    state.sampled.is_active[0] = False
    assert [finished(readback, [only], state) for _ in range(2)] == [[], [only]]


def test_what_an_empty_slot_batch_left_behind_does_no_harm(state: RowState) -> None:
    readback, old, new = LaggedReadback(), sequence(), sequence()
    state.sampled.is_active[0] = False
    finished(readback, [old], state)
    finished(readback, [old], state)
    state.sampled.is_active[0] = True
    assert finished(readback, [new], state) == []
    state.sampled.is_active[0] = False
    assert [finished(readback, [new], state) for _ in range(2)] == [[], [new]]


def test_beams_are_seen_at_once(state: RowState, stream: FakeStream) -> None:
    """Otherwise upstream's search would take one token too many."""
    readback, beams, samples = LaggedReadback(), sequence(may_lag=False, width=2), sequence(width=2)
    state.sampled.is_active[:2] = False
    assert finished(readback, [beams, samples], state) == [beams]
    assert stream.events[-1].was_waited_for
    assert readback.rows_of(beams).tokens[:, 0].tolist() == [0, 1]


def test_a_complete_beam_search_has_ended_whatever_its_rows_say(state: RowState) -> None:
    readback, beams = LaggedReadback(), sequence(may_lag=False, width=2)
    beams.search.is_complete = True
    assert finished(readback, [beams], state) == [beams]
