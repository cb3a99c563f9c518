"""The transaction that adds a step to what people changed in a transcript."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.storage import edit_rows
from optimizer.storage.edit_rows import EditStep
from optimizer.storage.repository import TaskWriter
from optimizer.storage.search_index import sentences_of
from optimizer.tasks.task import Task
from whisper_core.text.transcript import Segment


class EditWriter(TaskWriter):
    """`lock` the task first, so that nobody else takes a step meanwhile."""

    def version_of(self, task_id: str) -> int:
        """0 for a transcript that nobody changed."""
        return edit_rows.version_of(self._connection, task_id)

    def add_step(
        self, task: Task, step: EditStep, *, content: str, segments: Sequence[Segment], bytes_before: int
    ) -> int:
        """content: of the transcript after it. segments: what the search looks through then. bytes_before: of the data
        of the steps before it. Returns it with this one's."""
        self.set_text(task, " ".join(segment.text for segment in segments), sentences_of(segments))
        return edit_rows.add_step(self._connection, task.id, step, content, bytes_before)
