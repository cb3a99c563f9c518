"""What the steps so far come to, as JSON.

A segment that is as it was transcribed is only its number there: what is written at every step is small then, also for
a long recording.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from errors import BadRecordError, InvalidOptionError
from optimizer.storage.edit_rows import EditStep
from optimizer.storage.mapping import UNREADABLE
from whisper_core.editing.apply import fold
from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.editing.edits import Diarize, Edit, Insert, Retranscribe, Split, edit_from_dict
from whisper_core.editing.history import EditHistory
from whisper_core.text.transcript import Segment

SEVERAL, UNDO, REDO = "several", "undo", "redo"  # kinds of steps that are no edits


def history_to_json(history: EditHistory, original: EditedTranscript) -> str:
    known = {segment.id: segment for segment in original.segments}
    segments: list[Any] = [
        segment.id if known.get(segment.id) == segment else segment.to_dict() for segment in history.text.segments
    ]
    return json.dumps(
        {
            "segments": segments,
            "speakers": dict(history.text.speakers),
            "next_id": history.text.next_id,
            "has_words": history.text.has_words,
            "changes": list(history.changes.items()),
            "renames": list(history.renames.items()),
            "appeared": list(history.appeared.items()),
            "done": history.done,
            "undone": history.undone,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def history_from_json(text: str, version: int, original: EditedTranscript) -> EditHistory:
    """Raises BadRecordError."""
    known = {segment.id: segment for segment in original.segments}
    try:
        content = json.loads(text)
        segments = [known[each] if isinstance(each, int) else Segment.from_dict(each) for each in content["segments"]]
        return EditHistory(
            version=version,
            text=replace(
                original,
                segments=tuple(segments),
                speakers=dict(content["speakers"]),
                next_id=int(content["next_id"]),
                has_words=bool(content["has_words"]),
            ),
            changes=dict(content["changes"]),
            renames=dict(content["renames"]),
            appeared=dict(content["appeared"]),
            done=tuple(content["done"]),
            undone=tuple(content["undone"]),
        )
    except UNREADABLE as error:
        raise BadRecordError() from error


def edits_of(step: EditStep) -> list[Edit]:
    """Raises BadRecordError."""
    try:
        given = step.data["edits"] if step.kind == SEVERAL else [{"kind": step.kind, **step.data}]
        return [edit_from_dict(each) for each in given]
    except UNREADABLE as error:
        raise BadRecordError() from error


def text_of(original: EditedTranscript, steps: Iterable[EditStep], numbers: Iterable[int]) -> EditedTranscript:
    """The text with these steps in force. Raises BadRecordError."""
    wanted = set(numbers)
    try:
        return fold(original, (edit for step in steps if step.number in wanted for edit in edits_of(step)))
    except InvalidOptionError as error:  # it was applied before, so the row is not as it was written
        raise BadRecordError() from error


def history_of(original: EditedTranscript, steps: Iterable[EditStep]) -> EditHistory:
    """From the steps alone, for a snapshot that cannot be read. All segments count as changed in the last one.

    Raises BadRecordError.
    """
    every = list(steps)
    done, undone = list[int](), list[int]()
    for step in every:
        if step.kind == UNDO:
            undone.append(done.pop())
        elif step.kind == REDO:
            done.append(undone.pop())
        else:
            done.append(step.number)
            undone.clear()
    text = text_of(original, every, done)
    text = replace(text, next_id=max([text.next_id, *(_next_id(edit) for step in every for edit in _made_by(step))]))
    version = every[-1].number if every else 0
    changes = dict.fromkeys((segment.id for segment in text.segments), version)
    speakers = dict.fromkeys(text.speakers, version)
    return EditHistory(version, text, changes, speakers, speakers, tuple(done), tuple(undone))


def _made_by(step: EditStep) -> list[Edit]:
    return [] if step.kind in (UNDO, REDO) else edits_of(step)


def _next_id(edit: Edit) -> int:
    """One more than any id that the edit gave to a segment."""
    match edit:
        case Split() | Insert():
            return edit.first_id + 1
        case Diarize():
            return edit.first_id + len(edit.assigned)
        case Retranscribe():
            return edit.first_id + len(edit.with_)
    return 0
