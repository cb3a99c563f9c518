"""The file of a task once more, as a new task: another of its sound tracks is transcribed."""

from __future__ import annotations

import shutil
from dataclasses import replace

from optimizer.tasks.task import Task
from optimizer.views.task_view import Submission
from web.http.context import current_system
from web.http.task_access import current_tasks
from whisper_core.audio.tracks import choose_track

COPY_BYTES = 1024 * 1024


def transcribe_track(task_id: str, track: str) -> Submission:
    """The new task of that track, or the one that was made earlier. It belongs to the owner of the first.

    track: as `tracks.track_name` writes it. Raises what an upload of the file would raise; TaskNotFoundError,
    FileMissingError and IdempotencyInFlightError.
    """
    first, system = current_tasks().task(task_id).task, current_system()
    key = f"track:{first.id}:{track}"
    with system.keys.holding(first.owner, key) as earlier:
        if earlier is not None:
            return Submission(system.task(earlier.id), is_replay=True)
        return _submit_copy(first, track, key)


def _submit_copy(first: Task, track: str, key: str) -> Submission:
    """A copy rather than a link, so that it is counted like any upload and the disk's floor holds for it."""
    system = current_system()
    if first.tracks:
        choose_track(first.tracks, track)  # what is not there is refused before anything is copied
    source = current_tasks().media(first.id)
    upload = system.begin_upload(first.size_bytes, first.owner)
    with upload:
        with source.open("rb") as file:
            shutil.copyfileobj(file, upload, COPY_BYTES)
        return system.submit(
            upload,
            filename=first.filename,
            options=replace(first.options, track=track),
            priority=first.priority,
            device=first.requested_device,
            idempotency_key=key,
            owner=first.owner,
        )
