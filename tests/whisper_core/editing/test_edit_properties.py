"""Whatever is edited, in whatever order: the text stays sound, nothing is lost, and all of it can be undone."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidOptionError
from tests.properties import budget
from tests.whisper_core.editing.texts import EDITS, KEEPS_TEXT, Wish, assert_sound, edit_for, originals, visible
from whisper_core.editing.apply import fold
from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.editing.edits import Edit, edit_from_dict, edit_to_dict
from whisper_core.editing.history import EditHistory
from whisper_core.editing.steps import take_step


@budget(200)
@given(original=originals(), wishes=st.lists(EDITS, max_size=8))
def test_any_edits_leave_a_sound_text_and_lose_none_of_it(
    original: EditedTranscript, wishes: list[Wish | Edit]
) -> None:
    text = original
    assert_sound(text)
    for wish in wishes:
        before, edit = text, edit_for(text, wish)
        with suppress(InvalidOptionError):
            step = take_step(text, [edit])
            text = step.text
            assert [edit_from_dict(json.loads(json.dumps(edit_to_dict(each)))) for each in step.edits] == [*step.edits]
        assert_sound(text)
        if isinstance(edit, KEEPS_TEXT):
            assert visible(text) == visible(before)
        if text is not before:
            assert text != before


@budget(100)
@given(original=originals(), wishes=st.lists(EDITS, max_size=6))
def test_undoing_all_gives_the_original_and_redoing_all_gives_the_text(
    original: EditedTranscript, wishes: list[Wish | Edit]
) -> None:
    """Each step is undone by making the text again without it."""
    history, texts, steps = EditHistory.of(original), [original], list[tuple[Edit, ...]]()
    for wish in wishes:
        with suppress(InvalidOptionError):
            step = take_step(history.text, [edit_for(history.text, wish)])
            if step.text is not history.text:
                history = history.after(step.text)
                steps.append(step.edits)
                texts.append(history.text)
    given_ids = history.text.next_id
    for count in range(len(steps), 0, -1):
        in_force = [edit for step in steps[: count - 1] for edit in step]
        history = history.after_undo(fold(original, in_force))
        assert history.text.segments == texts[count - 1].segments
        assert history.text.speakers == texts[count - 1].speakers
        assert history.text.next_id == given_ids
    assert (history.text.segments, history.is_edited) == (original.segments, False)
    for count in range(1, len(steps) + 1):
        history = history.after_redo(fold(original, [edit for step in steps[:count] for edit in step]))
    assert history.text.segments == texts[-1].segments
    assert history.version == 3 * len(steps)


@budget(100)
@given(original=originals(), wishes=st.lists(EDITS, max_size=6))
def test_a_change_since_any_version_is_told(original: EditedTranscript, wishes: list[Wish | Edit]) -> None:
    history, versions = EditHistory.of(original), [original]
    for wish in wishes:
        with suppress(InvalidOptionError):
            step = take_step(history.text, [edit_for(history.text, wish)])
            if step.text is not history.text:
                history = history.after(step.text)
                versions.append(history.text)
    for base, text in enumerate(versions):
        known = {each.id: each for each in text.segments}
        known |= {each.id: each for each in history.changed_since(base)}
        assert [known[each.id] for each in history.text.segments] == list(history.text.segments)
