"""Retranscriptions: some segments of a transcript done again by another model, by a task of their own.

That task transcribes only the time of these segments. When it is done, what it heard takes their place, as a step of
the server's that can be undone, and the task is removed. Where somebody changed one of them meanwhile, nothing is
replaced, and the task stays with what it heard. Where the transcript was deleted, it goes too: it has a copy of the
recording.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from errors import (
    ConflictError,
    InvalidOptionError,
    NotFoundError,
    TaskNotFoundError,
    TranscriptionServerError,
)
from optimizer.editing.transcript_editor import TranscriptEditor
from optimizer.storage.segment_tasks import completed_segment_tasks
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.segments_key import SegmentsAgain, segments_of_key
from optimizer.tasks.task import Task
from whisper_core.editing.edits import Retranscribe
from whisper_core.editing.history import EditHistory
from whisper_core.text.transcript import Segment

log = logging.getLogger(__name__)

JOINED_S = 0.5  # segments with no more time between them are heard in one piece
KIND = "retranscribe"
MOST_LOOKED_AT = 200  # of the newest steps
_DECIMALS = 2  # of a clip's times: the sound is looked at in hundredths of a second
DIFFERS = (ConflictError, InvalidOptionError, NotFoundError)  # the text is not as it was, or not there


class Retranscriptions:
    """Any thread."""

    def __init__(
        self, store: TaskStore, files: TaskFiles, editor: TranscriptEditor, delete: Callable[[str, str], None]
    ) -> None:
        """delete: removes a task, by its id and its owner."""
        self._store = store
        self._files = files
        self._editor = editor
        self._delete = delete

    def on_completed(self, task: Task) -> None:
        """Raises nothing: what could not be brought to the text is tried again at the next start."""
        try:
            self._take(task)
        except TranscriptionServerError as error:
            log.warning("task=%s event=segments_not_replaced code=%s", task.id, error.code)
        except Exception:
            log.exception("task=%s event=segments_not_replaced", task.id)

    def resume(self) -> None:
        """At a start: what was done and not brought to the text that it is about."""
        with self._store.database.reading() as connection:
            done = completed_segment_tasks(connection)
        for task in done:
            self.on_completed(task)

    def _take(self, task: Task) -> None:
        about = segments_of_key(task.idempotency_key)
        if about is None:
            return
        if not self._is_there(about.task_id):
            log.info("task=%s event=segments_not_wanted_any_more", about.task_id)
            self._delete(task.id, task.owner)
            return
        heard = self._files.read_transcript(task.id, task.result_sha256)
        if not heard.text.strip():
            log.info("task=%s event=segments_not_replaced reason=nothing_heard", task.id)
            return
        edit = Retranscribe(about.segments, heard.segments, task.options.model)
        try:
            self._editor.edit(about.task_id, about.version, [edit], "")
        except DIFFERS as error:
            if not self._is_done(about, task.options.model):
                log.info("task=%s event=segments_not_replaced code=%s", task.id, error.code)
                return
        self._delete(task.id, task.owner)

    def _is_done(self, about: SegmentsAgain, model: str) -> bool:
        """Whether the server was killed after they were replaced, and before the task was removed."""
        wanted = (list(about.segments), model)
        return any(
            step.kind == KIND and (step.data.get("segments"), step.data.get("model")) == wanted
            for step in self._editor.steps(about.task_id, MOST_LOOKED_AT)
            if step.number > about.version
        )

    def _is_there(self, task_id: str) -> bool:
        with self._store.reading() as rows:
            try:
                rows.get(task_id)
            except TaskNotFoundError:
                return False
        return True


def changes_for(first: Task, history: EditHistory, segment_ids: Sequence[int], model: str) -> dict[str, str]:
    """In which fields of an upload's form that task differs from the first one: it has only the segments' time, and is
    exact, because in fast mode there are no clips.

    Raises InvalidOptionError for segments that are not there, or take no time.
    """
    text = history.text
    return {
        "model": model,
        "language": first.options.language or first.language or "",
        "clip_timestamps": _clips([text.segments[index] for index in text.indices_of(segment_ids)]),
        "word_timestamps": str(text.has_words).lower(),
        "mode": "exact",
        "vad_filter": "",
        "detect_language": "",
        "speakers": "",
        "num_speakers": "",
    }


def _clips(segments: Sequence[Segment]) -> str:
    spans: list[list[float]] = []
    for segment in sorted(segments, key=lambda each: each.start):
        start, end = round(segment.start, _DECIMALS), round(segment.end, _DECIMALS)
        if end <= start:
            continue
        if spans and start - spans[-1][1] <= JOINED_S:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([start, end])
    if not spans:
        raise InvalidOptionError("They take no time.", field="segments")
    return ",".join(f"{moment:.{_DECIMALS}f}" for span in spans for moment in span)
