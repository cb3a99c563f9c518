"""The file of a task once more, as a new task: with other options, another of its sound tracks, some segments, or
its speakers."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace

from errors import TranscriptNotReadyError
from optimizer.editing.retranscriptions import changes_for
from optimizer.intake.task_form import TaskForm, option_texts, read_task_form
from optimizer.tasks.segments_key import segments_key
from optimizer.tasks.speakers_key import speakers_key
from optimizer.tasks.task import Task, TaskOptions, TaskStatus
from optimizer.views.task_view import Submission
from web.http.context import current_system
from web.http.task_access import current_tasks
from whisper_core.audio.tracks import choose_track
from whisper_core.editing.edits import Retranscribe
from whisper_core.text.options import NO_CLIP

COPY_BYTES = 1024 * 1024


def transcribe_track(task_id: str, track: str) -> Submission:
    """The new task of that track, or the one that was made earlier. It belongs to the owner of the first.

    track: as `tracks.track_name` writes it. Raises what an upload of the file would raise; TaskNotFoundError,
    FileMissingError and IdempotencyInFlightError.
    """
    first = current_tasks().task(task_id).task
    form = TaskForm(replace(first.options, track=track), first.priority, first.requested_device)
    return _again(first, form, f"track:{first.id}:{track}")


def transcribe_again(task_id: str, changes: Mapping[str, str]) -> Submission:
    """The new task with the first one's options but for these, or the one that was made earlier of the same.

    changes: fields as in the form of an upload; an empty one stands for the default. Raises as `transcribe_track`, and
    InvalidOptionError and UnknownModelError.
    """
    first = current_tasks().task(task_id).task
    form = _changed_form(first, changes)
    told = json.dumps([form.options.stored, form.priority.word, form.device], sort_keys=True)
    return _again(first, form, f"again:{first.id}:{hashlib.sha256(told.encode()).hexdigest()[:32]}")


def transcribe_segments(task_id: str, base: int, segments: Sequence[int], model: str) -> Submission:
    """The new task that does these segments of the first one's text again; see `optimizer.editing.retranscriptions`.

    base: the version of the text in which they were chosen. Raises as `transcribe_again`, TranscriptNotReadyError, and
    EditConflictError when they were changed since.
    """
    own = current_tasks()
    first = own.task(task_id).task
    history = own.text_of(task_id).check(base, Retranscribe(tuple(segments), (), model))
    form = _changed_form(first, changes_for(first, history, segments, model))
    return _again(first, form, segments_key(first.id, history.version, segments, form.options.model))


def tell_speakers(task_id: str, num_speakers: int | None) -> Submission:
    """The task that tells the speakers of a completed one apart; the same while it is under way.

    It transcribes nothing, and goes when what it has found is with the first one. Raises what an upload of the file
    would raise; TaskNotFoundError, TranscriptNotReadyError, FileMissingError and IdempotencyInFlightError.
    """
    first, system = current_tasks().task(task_id).task, current_system()
    if first.status is not TaskStatus.COMPLETED:
        raise TranscriptNotReadyError()
    key = speakers_key(first.id, num_speakers)
    with system.keys.holding(first.owner, key) as earlier:
        if earlier is not None and not earlier.status.is_final:
            return Submission(system.task(earlier.id), is_replay=True)
        if earlier is not None:  # it failed, or was cancelled
            system.delete(earlier.id)
        form = TaskForm(_only_speakers(first, num_speakers), first.priority, first.requested_device)
        return _submit_copy(first, form, key)


def _only_speakers(first: Task, num_speakers: int | None) -> TaskOptions:
    """With the model that is the likeliest to be loaded, and with a language, so that the model is asked nothing."""
    return TaskOptions(
        model=first.options.model,
        language=first.language or first.options.language or "en",
        clip_timestamps=NO_CLIP,
        track=first.options.track,
        speakers=True,
        num_speakers=num_speakers,
    )


def _changed_form(first: Task, changes: Mapping[str, str]) -> TaskForm:
    system = current_system()
    asked = {"priority": first.priority.word, "device": first.requested_device, **option_texts(first.options)}
    return read_task_form(
        {**asked, **changes}.items(),
        system.settings,
        system.device_names(),
        system.admission.models,
        system.default_model(),
    )


def _again(first: Task, form: TaskForm, key: str) -> Submission:
    system = current_system()
    with system.keys.holding(first.owner, key) as earlier:
        if earlier is not None:
            return Submission(system.task(earlier.id), is_replay=True)
        return _submit_copy(first, form, key)


def _submit_copy(first: Task, form: TaskForm, key: str) -> Submission:
    """A copy rather than a link, so that it is counted like any upload and the disk's floor holds for it."""
    system = current_system()
    if first.tracks and form.options.track is not None:
        choose_track(first.tracks, form.options.track)  # what is not there is refused before anything is copied
    source = current_tasks().media(first.id)
    upload = system.begin_upload(first.size_bytes, first.owner)
    with upload:
        with source.open("rb") as file:
            shutil.copyfileobj(file, upload, COPY_BYTES)
        return system.submit(
            upload,
            filename=first.filename,
            options=form.options,
            priority=form.priority,
            device=form.device,
            idempotency_key=key,
            owner=first.owner,
            callback_url=form.callback_url,
            batch=form.batch,
        )
