"""A task's text, whether it is finished or still being transcribed."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from errors import CANNOT_STORE
from optimizer.editing.found_speakers import note_speakers
from optimizer.editing.transcript_editor import TranscriptEditor
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.scheduling.running_progress import RunningProgress
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import WindowFinished
from optimizer.tasks.task import Task, TaskStatus
from whisper_core.text.speaker_words import with_found_speakers
from whisper_core.text.transcript import Segment, Transcript, WindowResult


class StoredTasks(Protocol):
    """What is used of the queue; any process can read it."""

    def get(self, task_id: str) -> Task: ...

    def windows(self, task_id: str) -> list[WindowResult]: ...


class TranscriptReader:
    """Any thread, any process. Methods raise TaskNotFoundError."""

    def __init__(
        self, tasks: StoredTasks, files: TaskFiles, editor: TranscriptEditor, *, notes_speakers: bool = True
    ) -> None:
        """notes_speakers: whether found speakers that nobody has noted yet are. Only the process with the queue may."""
        self._tasks = tasks
        self._files = files
        self._editor = editor
        self._notes_speakers = notes_speakers

    def transcript(self, task_id: str, *, is_original: bool = False) -> tuple[Transcript, bool]:
        """The transcript, and whether it is only what there is so far. is_original: as it was transcribed, whatever
        people have changed since. Raises FileMissingError."""
        task = self._tasks.get(task_id)
        if task.status is TaskStatus.COMPLETED:
            return self._original(task) if is_original else self._edited(task), False
        segments = self._segments(task_id)
        text = "".join(segment.text for segment in segments)
        return Transcript(text, task.language or task.options.language or "", segments), True

    def _segments(self, task_id: str) -> tuple[Segment, ...]:
        return tuple(segment for window in self._tasks.windows(task_id) for segment in window.segments)

    def _original(self, task: Task) -> Transcript:
        return self._files.read_transcript(task.id, task.result_sha256)

    def _edited(self, task: Task) -> Transcript:
        """Also where something came between a task's end and the noting of its speakers."""
        edited = self._editor.edited(task)
        if edited is not None:
            return edited
        original = self._original(task)
        if not original.turns or not self._notes_speakers:
            return with_found_speakers(original)
        with suppress(*CANNOT_STORE):
            note_speakers(self._editor, task.id, original.turns)
        return self._editor.edited(task) or with_found_speakers(original)


class TranscriptViews(TranscriptReader):
    """Any thread. Methods raise TaskNotFoundError."""

    def __init__(
        self,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        progress: RunningProgress,
        editor: TranscriptEditor,
    ) -> None:
        super().__init__(queue, files, editor)
        self._progress = progress

    def segments_from(self, task_id: str, first: int) -> WindowFinished | None:
        """What a listener who has `first` segments of an unfinished task missed, as one event; None when it is over."""
        task = self._tasks.get(task_id)
        if task.status.is_final:
            return None
        return self._progress.window_finished(task, first, self._segments(task_id)[first:])
