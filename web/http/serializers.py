"""A task and the live feed's events as JSON. docs/api.md explains the fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from optimizer.common.text import iso_time
from optimizer.tasks.batches import BatchSummary
from optimizer.tasks.events import WindowFinished
from optimizer.tasks.search_hit import SearchHit
from optimizer.tasks.task import ErrorInfo, Task, TaskStatus
from optimizer.tasks.timeline import TaskEvent
from optimizer.tasks.wait_reasons import WaitReason
from optimizer.timing.forecast_accuracy import Interval
from optimizer.views.rendering import NO_SPEECH, damage_json, damage_text
from optimizer.views.task_view import TaskView
from whisper_core.audio.tracks import SoundTrack


def task_json(view: TaskView, *, shows_owner: bool = False) -> dict[str, Any]:
    task, options = view.task, view.task.options
    owner = {"owner": task.owner} if shows_owner else {}
    return {
        "id": task.id,
        "filename": task.filename,
        "title": task.title,
        "note": task.note,
        "tags": list(task.tags),
        "batch": None if task.batch_id is None else {"id": task.batch_id, "name": task.batch_name},
        "status": task.status.value,
        "options": {
            "model": options.model,
            "language": options.language,
            "task": options.task,
            "initial_prompt": options.initial_prompt,
            "word_timestamps": options.word_timestamps,
            "temperature": options.temperature,
            "mode": options.mode,
            **options.beyond_default,
        },
        "priority": task.priority.word,
        "language": task.language,
        "audio_seconds": task.audio_seconds,
        "size_bytes": task.size_bytes,
        "progress": task.progress,
        "windows_done": task.windows_done,
        "speakers_progress": view.speakers_progress,
        "position": view.position,
        "eta_seconds": view.eta_seconds,
        "expected": _expected_json(view.expected),
        "waiting_reason": None if view.waiting_reason is None else view.waiting_reason.text,
        "waiting": _waiting_json(view.waiting_reason),
        "attempts": task.attempt,
        "max_attempts": task.max_attempts,
        "device": task.device,
        "requested_device": task.requested_device,
        "memory": _memory_json(task),
        "tracks": [track_json(track) for track in task.tracks],
        "warnings": [*_warnings(task)],
        "error": _error_json(task.error),
        "created_at": timestamp(task.created_at),
        "started_at": timestamp(task.started_at),
        "finished_at": timestamp(task.finished_at),
        "media_removed_at": timestamp(task.media_removed_at),
        "media_expires_at": timestamp(view.media_end),
        "text_expires_at": timestamp(view.text_end),
        **owner,
        **({} if view.hit is None else {"match": match_json(view.hit)}),
    }


def match_json(hit: SearchHit) -> dict[str, Any]:
    return {
        "field": hit.field.value,
        "snippet": [{"text": part.text, "marked": part.is_match} for part in hit.snippet],
        "segment": hit.segment,
        "start": hit.start,
    }


def batch_json(batch: BatchSummary, *, shows_owner: bool = False) -> dict[str, Any]:
    owner = {"owner": batch.owner} if shows_owner else {}
    return {
        "id": batch.batch.id,
        "name": batch.batch.name,
        "tasks": batch.num_tasks,
        "counts": counts_json(batch.counts),
        "progress": batch.progress,
        "audio_seconds": batch.audio_seconds,
        "eta_seconds": batch.eta_seconds,
        "created_at": timestamp(batch.created_at),
        **owner,
    }


def track_json(track: SoundTrack) -> dict[str, Any]:
    return {
        "index": track.index,
        "language": track.language,
        "title": track.title,
        "codec": track.codec,
        "channels": track.channels,
        "default": track.is_default,
        "chosen": track.is_chosen,
    }


def _warnings(task: Task) -> Iterator[dict[str, Any]]:
    if task.is_truncated:
        yield {"code": "truncated_input", "message": damage_text(task), **(damage_json(task) or {})}
    if task.is_silent:
        yield {"code": "no_speech", "message": NO_SPEECH, "readable_seconds": None, "declared_seconds": None}
    if (problem := task.speakers_problem) is not None:
        told = {"code": problem.code, "message": problem.message}
        yield {**told, "readable_seconds": None, "declared_seconds": None}


def _memory_json(task: Task) -> dict[str, int | None]:
    return {
        "estimated_bytes": task.estimated_bytes,
        "predicted_bytes": task.predicted_bytes,
        "reserved_bytes": task.reserved_bytes,
        "measured_bytes": task.measured_bytes,
        "peak_bytes": task.measured_bytes,  # its older name
    }


def task_event_json(event: TaskEvent) -> dict[str, Any]:
    return {"at": timestamp(event.at), "code": event.code, "data": dict(event.data), "text": event.text}


def counts_json(counts: Mapping[TaskStatus, int]) -> dict[str, int]:
    """Every state, also those without a task."""
    return {status.value: counts.get(status, 0) for status in TaskStatus}


def progress_json(window: WindowFinished) -> dict[str, Any]:
    return {
        "id": window.task_id,
        "seq": window.seq,
        "progress": window.progress,
        "audio_done_seconds": window.audio_done_seconds,
        "speed": window.speed,
        "eta_seconds": window.eta_seconds,
    }


def segments_json(window: WindowFinished) -> dict[str, Any]:
    return {
        "id": window.task_id,
        "seq": window.seq,
        "from": window.first_segment,
        "segments": [segment.to_dict() for segment in window.segments],
    }


def timestamp(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC, with milliseconds and a Z."""
    return None if moment is None else iso_time(moment)


def _waiting_json(reason: WaitReason | None) -> dict[str, Any] | None:
    return None if reason is None else {"code": reason.code.value, "data": dict(reason.data)}


def _expected_json(expected: Interval | None) -> dict[str, float] | None:
    """Seconds from now."""
    if expected is None:
        return None
    return {
        "start_seconds": round(expected.start, 1),
        "end_seconds": round(expected.end, 1),
        "earliest_end_seconds": round(expected.earliest_end, 1),
        "latest_end_seconds": round(expected.latest_end, 1),
    }


def _error_json(error: ErrorInfo | None) -> dict[str, str] | None:
    return None if error is None else {"code": error.code, "message": error.message}
