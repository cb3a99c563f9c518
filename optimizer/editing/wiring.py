"""Builds the editor of transcripts."""

from __future__ import annotations

from optimizer.common.clock import Clock
from optimizer.editing.texts import EditedTexts
from optimizer.editing.transcript_editor import TranscriptEditor
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import EventBus


def build_editor(store: TaskStore, files: TaskFiles, clock: Clock, events: EventBus) -> TranscriptEditor:
    texts = EditedTexts(store, files)
    events.add_listener(texts.on_event)
    return TranscriptEditor(store, texts, clock, events.publish)
