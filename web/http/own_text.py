"""The text of one task, as somebody who may see the task changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.editing.transcript_editor import Edited, TranscriptEditor
from optimizer.storage.edit_rows import EditStep
from whisper_core.editing.edits import Edit
from whisper_core.editing.history import EditHistory


@dataclass(frozen=True)
class OwnText:
    """Any thread. Methods raise what the editor's of the same name raise."""

    editor: TranscriptEditor
    task_id: str
    author: str

    def history(self) -> EditHistory:
        return self.editor.history(self.task_id)

    def steps(self, limit: int, before: int | None) -> list[EditStep]:
        return self.editor.steps(self.task_id, limit, before)

    def edit(self, base: int, edits: Sequence[Edit]) -> Edited:
        return self.editor.edit(self.task_id, base, edits, self.author)

    def check(self, base: int, edit: Edit) -> EditHistory:
        return self.editor.check(self.task_id, base, edit)

    def undo(self, base: int) -> Edited:
        return self.editor.undo(self.task_id, base, self.author)

    def redo(self, base: int) -> Edited:
        return self.editor.redo(self.task_id, base, self.author)
