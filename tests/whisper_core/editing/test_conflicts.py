"""Which edits of an older version do not fit any more."""

from __future__ import annotations

import pytest

from tests.whisper_core.editing.texts import segment, text_of
from whisper_core.editing.conflicts import conflict_of, still_wanted
from whisper_core.editing.edits import (
    Delete,
    Edit,
    Insert,
    Merge,
    NameSpeaker,
    Replace,
    SetSpeaker,
    SetText,
    Shift,
    Split,
)
from whisper_core.editing.history import EditHistory
from whisper_core.editing.steps import take_step

FIVE = text_of(*(segment(number, number, number + 1, f" word {number}") for number in range(5)))
CHANGED: list[Edit] = [SetText(0, "changed"), SetSpeaker((0,), "S1"), NameSpeaker("S1", "Ann")]


@pytest.fixture
def history() -> EditHistory:
    """Version 2: the first segment was changed in 1, and the third one deleted in 2."""
    known = EditHistory.of(FIVE)
    steps: list[list[Edit]] = [CHANGED, [Delete((2,))]]
    for edits in steps:
        known = known.after(take_step(known.text, edits).text)
    return known


@pytest.mark.parametrize(
    ("edit", "base", "expected"),
    [
        (SetText(0, "mine"), 0, {0}),
        (SetText(0, "mine"), 1, set()),
        (SetText(1, "mine"), 0, set()),
        (Merge((0, 1)), 0, {0}),
        (Split(0, 3), 0, {0}),
        (Insert(0, 0.5, 1, "mine"), 0, {0}),
        (Insert(3, 3.5, 4, "mine"), 0, set()),
        (Shift(1), 0, {0}),
        (Shift(1), 1, set()),
        (Replace("word", "x"), 0, set()),
        (Replace("chang", "x"), 0, {0}),
        (Replace("chang", "x", segments=(1,)), 0, set()),
    ],
)
def test_what_an_edit_names_is_compared(history: EditHistory, edit: Edit, base: int, expected: set[int]) -> None:
    found = conflict_of(history, [edit], base)
    assert (found.segments, found.gone) == (expected, frozenset())


def test_what_is_gone_and_who_was_named_is_told(history: EditHistory) -> None:
    found = conflict_of(history, [SetText(2, "mine"), NameSpeaker("S1", "Bob")], 0)
    assert (found.segments, found.gone, found.speakers) == (frozenset(), {2}, {"S1"})
    assert not conflict_of(history, [NameSpeaker("S1", "Bob")], 1)


def test_a_new_speaker_with_the_id_of_another_new_one_is_a_conflict(history: EditHistory) -> None:
    assert conflict_of(history, [SetSpeaker((1,), "S1")], 0).speakers == {"S1"}
    assert not conflict_of(history, [SetSpeaker((1,), "S1")], 1)
    assert not conflict_of(history, [SetSpeaker((1,), "S2"), SetSpeaker((1,), None)], 0)
    named = history.after(take_step(history.text, [NameSpeaker("S1", "Bob")]).text)
    assert not conflict_of(named, [SetSpeaker((1,), "S1")], 2)


def test_what_is_so_already_is_not_wanted_any_more(history: EditHistory) -> None:
    assert still_wanted(history.text, [*CHANGED, Delete((2,))]) == []
    for wanted in (SetText(0, "other"), Delete((2, 3)), SetText(2, "gone"), Shift(0.5), Delete((-1,))):
        assert still_wanted(history.text, [wanted]) == [wanted]


def test_undoing_changes_what_it_brings_back(history: EditHistory) -> None:
    undone = history.after_undo(take_step(FIVE, CHANGED).text)
    assert [each.id for each in undone.changed_since(2)] == [2]
    assert (undone.version, undone.done, undone.undone) == (3, (1,), (2,))
