"""FoundSpeakers: what was found of who speaks becomes a step in the history of the transcript that it is about.

Of a task that was transcribed with its speakers that is its own transcript. A task that only tells the speakers of
another one apart is removed once they are with that one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from errors import TaskNotFoundError, TranscriptionServerError, TranscriptNotReadyError
from optimizer.storage.speaker_tasks import completed_speaker_tasks
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.speakers_key import told_task
from optimizer.tasks.task import Task
from whisper_core.text.speaker_words import assign_speakers
from whisper_core.text.transcript import Segment
from whisper_core.text.turns import Turn

log = logging.getLogger(__name__)

Assign = Callable[[Sequence[Segment]], Sequence[Segment]]


class Editor(Protocol):
    """What is used of TranscriptEditor."""

    def assign_speakers(self, task_id: str, assign: Assign) -> object: ...


class FoundSpeakers:
    """Any thread."""

    def __init__(self, store: TaskStore, files: TaskFiles, editor: Editor, delete: Callable[[str, str], None]) -> None:
        """delete: removes a task, by its id and its owner."""
        self._store = store
        self._files = files
        self._editor = editor
        self._delete = delete

    def on_completed(self, task: Task) -> None:
        """Raises nothing: the turns stay with the text, and are brought to it when it is read, or at the next start."""
        if not task.options.speakers:
            return
        try:
            self._take(task)
        except TranscriptionServerError as error:
            log.warning("task=%s event=speakers_not_noted code=%s", task.id, error.code)
        except Exception:
            log.exception("task=%s event=speakers_not_noted", task.id)

    def resume(self) -> None:
        """At a start: what tasks that were only about another one's speakers have found, and not brought there."""
        with self._store.database.reading() as connection:
            done = completed_speaker_tasks(connection)
        for task in done:
            self.on_completed(task)

    def _take(self, task: Task) -> None:
        turns = self._files.read_transcript(task.id, task.result_sha256).turns
        if turns is None:
            return  # the task says why
        about = told_task(task.idempotency_key)
        try:
            note_speakers(self._editor, about or task.id, turns)
        except (TaskNotFoundError, TranscriptNotReadyError):
            log.info("task=%s event=speakers_not_wanted_any_more", about or task.id)
        if about is not None:
            self._delete(task.id, task.owner)


def note_speakers(editor: Editor, task_id: str, turns: Sequence[Turn]) -> None:
    """The turns as a step in the history of that task's transcript. Raises what TranscriptEditor raises."""
    editor.assign_speakers(task_id, lambda segments: assign_speakers(segments, turns))
