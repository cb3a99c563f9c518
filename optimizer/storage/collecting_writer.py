"""Several changes of tasks in one transaction, written table by table: a statement for all of them costs little more
than a statement for one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from errors import BadRecordError, TaskNotFoundError
from optimizer.storage import mapping, search_index
from optimizer.storage.repository import TaskWriter
from optimizer.storage.search_index import SearchedText
from optimizer.storage.webhook_outbox import WebhookOutbox
from optimizer.tasks.search_hit import Sentence
from optimizer.tasks.task import Task
from optimizer.tasks.timeline import TaskEvent
from whisper_core.text.transcript import WindowResult


class CollectingWriter(TaskWriter):
    """Nothing is written before `flush`, but what is read through it shows the changes made so far."""

    def __init__(self, connection: Connection, outbox: WebhookOutbox | None = None) -> None:
        """outbox: as in TaskWriter."""
        super().__init__(connection, outbox)
        self._found: dict[str, Task | BadRecordError | TaskNotFoundError] = {}  # as in the database
        self._after: dict[str, Task] = {}
        self._new_events: list[tuple[str, TaskEvent]] = []  # each with its task's id
        self._new_windows: list[tuple[str, WindowResult]] = []  # likewise
        self._without_windows: set[str] = set()
        self._texts: dict[str, SearchedText] = {}

    def lock_all(self, task_ids: Collection[str]) -> None:
        """Reads these tasks at once; `lock` gives each of them."""
        rows = {row.id: row for row in self._rows(task_ids)}
        for task_id in task_ids:
            try:
                self._found[task_id] = mapping.task_from_row(rows[task_id])
            except KeyError:
                self._found[task_id] = TaskNotFoundError()
            except BadRecordError as error:
                self._found[task_id] = error

    def lock(self, task_id: str) -> Task:
        if task_id in self._after:
            return self._after[task_id]
        if task_id not in self._found:
            self.lock_all([task_id])
        found = self._found[task_id]
        if isinstance(found, Task):
            return found
        raise found

    def changed(self) -> Iterator[tuple[Task, Task]]:
        """Each task that was saved, as it was before the transaction and as it is after it."""
        for task_id, after in self._after.items():
            before = self._found[task_id]
            if isinstance(before, Task):
                yield before, after

    def events(self, task_id: str) -> list[TaskEvent]:
        return super().events(task_id) + [event for of_task, event in self._new_events if of_task == task_id]

    def add_event(self, task_id: str, code: str, data: Mapping[str, Any], now: datetime) -> None:
        self._new_events.append((task_id, TaskEvent(now, code, dict(data))))

    def save(self, before: Task, after: Task) -> Task:
        saved = self._after[before.id] = after.with_(version=before.version + 1)
        return saved

    def add_window(self, task_id: str, window: WindowResult) -> None:
        self._new_windows.append((task_id, window))

    def remove_windows(self, task_id: str) -> None:
        self._new_windows = [each for each in self._new_windows if each[0] != task_id]
        self._without_windows.add(task_id)

    def set_text(self, task: Task, text: str, sentences: Sequence[Sentence] = ()) -> None:
        self._texts[task.id] = SearchedText(task, text, sentences)

    def set_name(self, task: Task) -> None:
        earlier = self._texts.get(task.id, SearchedText(task, None))
        self._texts[task.id] = replace(earlier, task=task)

    def flush(self) -> None:
        """Writes all of it."""
        changes = defaultdict(list)
        for before, after in self.changed():
            columns = mapping.changed_columns(before, after)
            changes[tuple(columns)].append((before, columns))
        for alike in changes.values():
            self._save_all(alike)
        self._note_endings(self.changed())
        self._remove_windows_of_all(self._without_windows)
        self._add_windows(mapping.window_to_row(task_id, window) for task_id, window in self._new_windows)
        search_index.write(self._connection, self._texts.values())
        self._add_events(mapping.event_to_row(of, each.code, each.data, each.at) for of, each in self._new_events)
