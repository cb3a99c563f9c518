"""The edits of one step applied together: with ids for the segments that they make, and all of them or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from errors import InvalidOptionError
from whisper_core.editing.apply import apply
from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.editing.edits import (
    Delete,
    Diarize,
    Edit,
    Insert,
    Merge,
    Replace,
    Retranscribe,
    SetSpeaker,
    SetText,
    SetTimes,
    Split,
)


@dataclass(frozen=True)
class Step:
    text: EditedTranscript  # after it
    edits: tuple[Edit, ...]  # as they are stored, with real ids
    made: Mapping[int, int]  # the ids of new segments, by the negative ones under which the edits knew them


def take_step(before: EditedTranscript, edits: Sequence[Edit]) -> Step:
    """A `first_id` below 0 is a name for the new segment, by which later edits of the step may call it.

    Raises InvalidOptionError, whose field is as in `edits.0.text`.
    """
    text, made = before, dict[int, int]()
    stored: list[Edit] = []
    for number, edit in enumerate(edits):
        real = _with_real_ids(edit, made, text.next_id)
        try:
            text = apply(text, real)
        except InvalidOptionError as error:
            raise InvalidOptionError(error.message, field=f"edits.{number}.{error.field}") from error
        stored.append(real)
    text.check_size(before)
    return Step(text, tuple(stored), made)


def _with_real_ids(edit: Edit, made: dict[int, int], next_id: int) -> Edit:
    match edit:
        case Insert():
            edit = edit if edit.after is None else replace(edit, after=made.get(edit.after, edit.after))
        case Merge() | Delete() | SetSpeaker():
            edit = replace(edit, segments=_real(edit.segments, made))
        case Replace() if edit.segments is not None:
            edit = replace(edit, segments=_real(edit.segments, made))
        case SetText() | SetTimes() | Split():
            edit = replace(edit, segment=made.get(edit.segment, edit.segment))
    if isinstance(edit, (Split, Insert, Diarize, Retranscribe)):
        if edit.first_id < 0:
            made[edit.first_id] = next_id
        edit = replace(edit, first_id=next_id)
    return edit


def _real(ids: Sequence[int], made: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(made.get(each, each) for each in ids)
