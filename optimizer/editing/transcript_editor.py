"""TranscriptEditor: what people change in the transcripts of completed tasks.

The original, as it was transcribed, stays in its file and is never written to. Each change is a row that is only ever
added, undoing included, so nothing that anybody did is lost; the text that they come to is kept beside them and written
in the same transaction, together with what the search looks through.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from errors import ConflictError, EditConflictError, InvalidOptionError, StoreBusyError, TranscriptNotReadyError
from optimizer.common.clock import Clock
from optimizer.editing.snapshots import REDO, SEVERAL, UNDO, history_to_json, text_of
from optimizer.editing.texts import EditedTexts, Opened
from optimizer.storage import edit_rows
from optimizer.storage.edit_rows import EditStep
from optimizer.storage.store import TaskStore
from optimizer.tasks.events import Event, TranscriptEdited
from optimizer.tasks.task import Task, TaskStatus
from whisper_core.editing.conflicts import conflict_of, still_wanted
from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.editing.edits import Edit, edit_to_dict
from whisper_core.editing.history import EditHistory
from whisper_core.editing.speakers import assigned_by
from whisper_core.editing.steps import take_step
from whisper_core.text.transcript import Segment, Transcript

log = logging.getLogger(__name__)

MAX_STEPS = 20_000  # of one task; a long interview corrected word by word has some thousands
MAX_DATA_BYTES = 32_000_000  # of all steps of one task
MAX_TRIES = 20  # when others write between reading and writing; each of those got its step in


@dataclass(frozen=True)
class Edited:
    """A text after a step, or as it is."""

    before: EditHistory
    after: EditHistory
    made: dict[int, int]  # the ids of new segments, by the negative ones that the edits gave them

    @property
    def has_new_order(self) -> bool:
        """Whether segments came or went since `before`."""
        ids = [[segment.id for segment in history.text.segments] for history in (self.before, self.after)]
        return ids[0] != ids[1]


@dataclass(frozen=True)
class _Planned:
    """A step that has not been stored yet."""

    after: EditHistory
    kind: str
    data: dict[str, object]
    made: dict[int, int]


class TranscriptEditor:
    """Any thread. Methods that take a task's id raise TaskNotFoundError, TranscriptNotReadyError for one that is not
    completed, FileMissingError without its transcript, and what TaskStore raises; then nothing was changed."""

    def __init__(self, store: TaskStore, texts: EditedTexts, clock: Clock, publish: Callable[[Event], None]) -> None:
        self._store = store
        self._texts = texts
        self._clock = clock
        self._publish = publish

    def history(self, task_id: str) -> EditHistory:
        """The text as it is, with what was done to it."""
        return self._open(task_id).history

    def steps(self, task_id: str, limit: int, before: int | None = None) -> list[EditStep]:
        """What was done, newest first. before: only steps with a smaller number."""
        with self._store.database.reading() as connection:
            return edit_rows.newest_steps(connection, task_id, limit, before)

    def edit(self, task_id: str, base: int, edits: Sequence[Edit], author: str) -> Edited:
        """All of the edits, as one step; nothing is stored when they change nothing.

        base: the version that whoever made them knew. An older one does no harm, unless what they are about was changed
        since: EditConflictError. Raises InvalidOptionError for what does not fit the text, ConflictError for more than
        can be kept of one task.
        """

        def plan(opened: Opened) -> _Planned | None:
            history = opened.history
            wanted = _fitting(history, base, edits)
            step = take_step(history.text, wanted)
            if step.text is history.text:
                return None
            return _Planned(history.after(step.text), *_kind_and_data(step.edits), dict(step.made))

        return self._take(task_id, author, plan)

    def check(self, task_id: str, base: int, edit: Edit) -> EditHistory:
        """The text as it is. Raises what `edit` would raise for an old base."""
        history = self.history(task_id)
        _fitting(history, base, [edit])
        return history

    def undo(self, task_id: str, base: int, author: str) -> Edited:
        """Takes the last step back that is in force, whoever took it. Raises EditConflictError for an old base, because
        what is undone then may not be what was meant, and ConflictError when there is nothing to undo."""

        def plan(opened: Opened) -> _Planned:
            history = _current(base, opened.history)
            if not history.done:
                raise ConflictError("There is nothing to undo.")
            text = self._text_with(task_id, opened, history.done[:-1])
            return _Planned(history.after_undo(text), UNDO, {"number": history.done[-1]}, {})

        return self._take(task_id, author, plan)

    def redo(self, task_id: str, base: int, author: str) -> Edited:
        """Takes the step again that was undone last, unless another was taken since. Raises as `undo`."""

        def plan(opened: Opened) -> _Planned:
            history = _current(base, opened.history)
            if not history.undone:
                raise ConflictError("There is nothing to do again.")
            text = self._text_with(task_id, opened, (*history.done, history.undone[-1]))
            return _Planned(history.after_redo(text), REDO, {"number": history.undone[-1]}, {})

        return self._take(task_id, author, plan)

    def assign_speakers(self, task_id: str, assign: Callable[[Sequence[Segment]], Sequence[Segment]]) -> Edited:
        """Notes who speaks, as it was found, as a step of the server's own.

        assign: from the segments as they are now to the same text cut where speakers change; may be called more than
        once. Speakers with names keep them.
        """

        def plan(opened: Opened) -> _Planned | None:
            history = opened.history
            step = take_step(history.text, [assigned_by(history.text, assign(history.text.segments))])
            if step.text is history.text:
                return None
            return _Planned(history.after(step.text), *_kind_and_data(step.edits), {})

        return self._take(task_id, "", plan)

    def edited(self, task: Task) -> Transcript | None:
        """The text of a completed task with what people changed; None where nobody did. Raises FileMissingError."""
        with self._store.database.reading() as connection:
            if edit_rows.version_of(connection, task.id) == 0:
                return None
        return self._texts.open(task).history.transcript()

    def _open(self, task_id: str) -> Opened:
        with self._store.reading() as rows:
            return self._texts.open(_completed(rows.get(task_id)))

    def _text_with(self, task_id: str, opened: Opened, done: tuple[int, ...]) -> EditedTranscript:
        """The text with these steps in force: remembered, or made of them again."""
        if (text := opened.text_with(done)) is not None:
            return text
        with self._store.database.reading() as connection:
            return text_of(opened.original, list(edit_rows.steps_of(connection, task_id)), done)

    def _take(self, task_id: str, author: str, plan: Callable[[Opened], _Planned | None]) -> Edited:
        """Plans the step on what is there, and stores it unless somebody else was faster; then it is planned again."""
        for _ in range(MAX_TRIES):
            opened = self._open(task_id)
            planned = plan(opened)
            if planned is None:
                return Edited(opened.history, opened.history, {})
            if self._try_store(task_id, author, opened, planned):
                self._publish(TranscriptEdited(task_id, planned.after.version, author))
                return Edited(opened.history, planned.after, planned.made)
        raise StoreBusyError()

    def _try_store(self, task_id: str, author: str, opened: Opened, planned: _Planned) -> bool:
        """False when the text is not as it was when the step was planned."""
        after, now = planned.after, self._clock.now()
        content = history_to_json(after, opened.original)
        with self._store.editing() as rows:
            task = _completed(rows.lock(task_id))
            if rows.version_of(task_id) != opened.history.version:
                return False
            if after.version > MAX_STEPS or opened.data_bytes > MAX_DATA_BYTES:
                raise ConflictError("This transcript was changed as often as one can be.")
            step = EditStep(after.version, author, now, planned.kind, planned.data)
            data_bytes = rows.add_step(
                task,
                step,
                content=content,
                segments=after.text.segments,
                bytes_before=opened.data_bytes,
            )
        self._texts.keep(task, opened.after(after, data_bytes))
        log.info("task=%s event=edited version=%d kind=%s", task_id, after.version, planned.kind)
        return True


def _completed(task: Task) -> Task:
    if task.status is not TaskStatus.COMPLETED:
        raise TranscriptNotReadyError("The task is not completed, so there is no text to change yet.")
    return task


def _checked(base: int, history: EditHistory) -> int:
    if base > history.version:
        raise InvalidOptionError(f"There is no version {base}.", field="base")
    return base


def _fitting(history: EditHistory, base: int, edits: Sequence[Edit]) -> list[Edit]:
    """Those of them that still have something to change. Raises EditConflictError, InvalidOptionError."""
    if _checked(base, history) == history.version:
        return list(edits)
    wanted = still_wanted(history.text, edits)
    if conflict := conflict_of(history, wanted, base):
        raise EditConflictError(_present(history, conflict.segments, conflict.gone, conflict.speakers))
    return wanted


def _current(base: int, history: EditHistory) -> EditHistory:
    """Raises EditConflictError for an older version."""
    if _checked(base, history) < history.version:
        changed = frozenset(segment.id for segment in history.changed_since(base))
        renamed = frozenset(speaker for speaker, number in history.renames.items() if number > base)
        raise EditConflictError(_present(history, changed, frozenset(), renamed))
    return history


def _present(
    history: EditHistory, segments: frozenset[int], gone: frozenset[int], speakers: frozenset[str]
) -> dict[str, object]:
    return {
        "version": history.version,
        "segments": [segment.to_dict() for segment in history.text.segments if segment.id in segments],
        "gone": sorted(gone),
        "speakers": {each: history.text.speakers.get(each) for each in sorted(speakers)},
    }


def _kind_and_data(edits: Sequence[Edit]) -> tuple[str, dict[str, object]]:
    given = [edit_to_dict(edit) for edit in edits]
    if len(given) > 1:
        return SEVERAL, {"edits": given}
    return given[0].pop("kind"), given[0]
