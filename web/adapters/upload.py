"""One upload of another project's API becomes one task of ours, and its answer the task's transcript.

An adapter says what it makes of a form's fields (`UploadForm`) and how it writes a result; the rest is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from optimizer.tasks.task import TaskStatus
from optimizer.views.task_view import Submission
from web.adapters.waiting import Result, TaskWatch, current_room
from web.http.client_presence import presence_of
from web.http.context import current_system
from web.tasks.uploads import UploadForm, receive_task


def transcribe_upload(form: UploadForm) -> Result:
    """Receives the request's file and waits for its text. Raises what `receive_task` and `TaskWatch.result` raise, and
    TooManyWaitingError before the file is sent."""
    with following_upload(form) as (_, watch):
        return watch.result()


@contextmanager
def following_upload(form: UploadForm) -> Iterator[tuple[Submission, TaskWatch]]:
    """Receives the request's file. Left before the task's end, the task is cancelled: see `WaitingRoom.watching`.

    A task that was cancelled begins anew when its Idempotency-Key is sent again: its client had hung up, and is back.
    """
    room = current_room()
    with room.place():
        submission = receive_task(form)
        task = submission.task.task
        if submission.is_replay and task.status is TaskStatus.CANCELLED:
            current_system().retry(task.id)
        with room.watching(task.id, presence_of(request.environ)) as watch:
            yield submission, watch
