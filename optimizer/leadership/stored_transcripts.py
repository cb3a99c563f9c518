"""Transcripts at a process that does not lead: read from the data folder and the database, which all of them share.

That of a long recording has hundreds of thousands of words. To put it into JSON for the channel and to read that again
takes seconds, of the leader's as well, whose scheduler waits for its turn meanwhile.
"""

from __future__ import annotations

from typing import NoReturn

from optimizer.common.clock import Clock
from optimizer.editing.texts import EditedTexts
from optimizer.editing.transcript_editor import TranscriptEditor
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event, EventBus
from optimizer.tasks.task import Task
from optimizer.views.transcripts import TranscriptReader
from whisper_core.text.transcript import WindowResult


class _Rows:
    """See StoredTasks."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store

    def get(self, task_id: str) -> Task:
        with self._store.reading() as rows:
            return rows.get(task_id)

    def windows(self, task_id: str) -> list[WindowResult]:
        with self._store.reading() as rows:
            return rows.windows(task_id)


def reader_beside_leader(store: TaskStore, files: TaskFiles, clock: Clock, events: EventBus) -> TranscriptReader:
    """Changes nothing. store: was not opened. events: tell of deleted tasks, of which nothing is kept then."""
    texts = EditedTexts(store, files)
    events.add_listener(texts.on_event)
    editor = TranscriptEditor(store, texts, clock, _refuse)
    return TranscriptReader(_Rows(store), files, editor, notes_speakers=False)


def _refuse(event: Event) -> NoReturn:
    raise AssertionError(f"only the leader edits, and tells {event}")
