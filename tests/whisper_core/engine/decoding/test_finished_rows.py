"""On a GPU a window's end is seen one step late, from a copy; nothing is lost and nothing is told twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.whisper_core.engine.fake_cuda import FakeStream, fake_cuda
from whisper_core.engine.decoding.finished_rows import ImmediateLook, LaggingLook, ended_rows
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.network.dims import DecoderShape

ROWS = 4


@pytest.fixture(autouse=True)
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStream]:
    """Pinned memory needs a driver; a copy in other memory is as good here."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *sizes, pin_memory=False, **options: empty(*sizes, **options))
    with fake_cuda() as current:
        yield current


@dataclass(eq=False)
class Searching:
    """A sequence, as far as a look needs it."""

    search: SimpleNamespace


def sequence(*, may_lag: bool = True, width: int = 1) -> Any:
    return Searching(SimpleNamespace(is_complete=False, may_lag=may_lag, width=width))


@pytest.fixture
def state() -> RowState:
    """All rows active, each with its number as its only token."""
    shape = DecoderShape(1, 1, 1, 1, 8, 1, 1, torch.device("cpu"), torch.float32)
    state = RowState.empty(shape, ROWS)
    state.is_active.fill_(True)
    state.tokens[:, 0] = torch.arange(ROWS)
    return state


def looked(look: Any, sequences: list[Any], state: RowState) -> list[Any]:
    rows = sum(sequence.search.width for sequence in sequences)
    ended: list[Any] = look.look(sequences, state.rows(0, rows))
    return ended


def test_each_device_has_its_own() -> None:
    assert isinstance(ended_rows(torch.device("cpu")), ImmediateLook)
    assert isinstance(ended_rows(torch.device("cuda")), LaggingLook)


def test_the_cpu_sees_an_end_at_once(state: RowState) -> None:
    look, first, second = ImmediateLook(), sequence(), sequence()
    state.is_active[1] = False
    assert looked(look, [first, second], state) == [second]
    assert int(look.rows_of(second).tokens[0, 0]) == 1


def test_an_end_is_seen_one_step_later(state: RowState) -> None:
    look, first, second = LaggingLook(), sequence(), sequence()
    state.is_active[1] = False
    assert looked(look, [first, second], state) == []
    assert looked(look, [first, second], state) == [second]


def test_only_the_step_before_is_waited_for(state: RowState, stream: FakeStream) -> None:
    look, only = LaggingLook(), sequence()
    for _ in range(3):
        looked(look, [only], state)
    assert [event.was_waited_for for event in stream.events] == [True, True, False]


def test_the_result_is_what_the_rows_were_then(state: RowState) -> None:
    """The bank has moved another window into the slot meanwhile, say."""
    look, first, second = LaggingLook(), sequence(), sequence()
    state.is_active[1] = False
    looked(look, [first, second], state)
    state.tokens.fill_(-1)
    state.is_active.fill_(True)
    looked(look, [first, second], state)
    assert look.rows_of(second).tokens[:, 0].tolist() == [1]


def test_rows_are_found_by_where_they_were(state: RowState) -> None:
    look, first, second, third = LaggingLook(), sequence(), sequence(), sequence()
    state.is_active[2] = False
    looked(look, [first, second, third], state)
    assert looked(look, [third, second], state) == [third], "it has moved into the first slot"
    assert look.rows_of(third).tokens[:, 0].tolist() == [2]


def test_one_that_has_left_is_not_told_of(state: RowState) -> None:
    look, first, second, successor = LaggingLook(), sequence(), sequence(), sequence()
    state.is_active[:2] = False
    looked(look, [first, second], state)
    assert looked(look, [first, successor], state) == [first]


def test_one_is_told_of_once(state: RowState) -> None:
    look, first, second = LaggingLook(), sequence(), sequence()
    state.is_active[1] = False
    looked(look, [first, second], state)
    assert looked(look, [first, second], state) == [second]
    assert looked(look, [first], state) == [], "though the copy in between holds it too"


def test_the_last_one_is_not_lost(state: RowState) -> None:
    look, only = LaggingLook(), sequence()
    state.is_active[0] = False
    assert [looked(look, [only], state) for _ in range(2)] == [[], [only]]


def test_what_an_empty_bank_left_behind_does_no_harm(state: RowState) -> None:
    look, old, new = LaggingLook(), sequence(), sequence()
    state.is_active[0] = False
    looked(look, [old], state)
    looked(look, [old], state)
    state.is_active[0] = True
    assert looked(look, [new], state) == []
    state.is_active[0] = False
    assert [looked(look, [new], state) for _ in range(2)] == [[], [new]]


def test_beams_are_seen_at_once(state: RowState, stream: FakeStream) -> None:
    """Upstream's search would go on for one token more than it says."""
    look, beams, samples = LaggingLook(), sequence(may_lag=False, width=2), sequence(width=2)
    state.is_active[:2] = False
    assert looked(look, [beams, samples], state) == [beams]
    assert stream.events[-1].was_waited_for
    assert look.rows_of(beams).tokens[:, 0].tolist() == [0, 1]


def test_a_complete_beam_search_has_ended_whatever_its_rows_say(state: RowState) -> None:
    look, beams = LaggingLook(), sequence(may_lag=False, width=2)
    beams.search.is_complete = True
    assert looked(look, [beams], state) == [beams]
