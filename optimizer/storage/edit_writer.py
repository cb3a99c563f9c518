"""The transaction that adds a step to what people changed in a transcript."""

from __future__ import annotations

from optimizer.storage import edit_rows
from optimizer.storage.edit_rows import EditStep
from optimizer.storage.repository import TaskWriter
from optimizer.tasks.task import Task


class EditWriter(TaskWriter):
    """`lock` the task first, so that nobody else takes a step meanwhile."""

    def version_of(self, task_id: str) -> int:
        """0 for a transcript that nobody changed."""
        return edit_rows.version_of(self._connection, task_id)

    def add_step(self, task: Task, step: EditStep, *, content: str, text: str, bytes_before: int) -> int:
        """content: of the transcript after it. text: what the search looks through then. bytes_before: of the data of
        the steps before it. Returns it with this one's."""
        self.set_text(task, text)
        return edit_rows.add_step(self._connection, task.id, step, content, bytes_before)
