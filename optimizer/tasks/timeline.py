"""A task's timeline: what happened to it, when, and the sentence for it.

An event is written in the transaction of the change it is about. A task that is older than timelines gets one from its
row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optimizer.common.text import duration
from optimizer.tasks.start_reason import StartReason
from optimizer.tasks.task import ErrorInfo, Task, TaskStatus

UPLOADED = "uploaded"
DECODED = "decoded"
STARTED = "started"
GAVE_WAY = "gave_way"
MEMORY = "memory"
INTERRUPTED = "interrupted"
RETRYING = "retrying"
PRIORITISED = "prioritised"
MOVED = "moved"
SPEAKERS = "speakers"
COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"
MEDIA_REMOVED = "media_removed"
RESTARTED = "restarted"

GIVEN_BACK = "given_back"  # the code of an interrupt without an error, such as a stop of the server


@dataclass(frozen=True)
class TaskEvent:
    at: datetime
    code: str
    data: Mapping[str, Any] = field(default_factory=dict)  # the event's figures by name; docs/api.md lists them by code

    @property
    def text(self) -> str:
        """One English sentence."""
        fallback = self.code.replace("_", " ").capitalize() + "."
        make = _SENTENCES.get(self.code)
        try:
            return fallback if make is None else make(self.data)
        except (KeyError, TypeError, ValueError):  # another version of the server wrote it
            return fallback


def timeline_of(task: Task, events: Sequence[TaskEvent]) -> list[TaskEvent]:
    """Oldest first. A task without events gets those that its row tells of."""
    return list(events) if events else list(_events_from_row(task))


def decoded_data(audio_seconds: float, is_truncated: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"audio_seconds": audio_seconds}
    return {**data, "truncated": True} if is_truncated else data


def started_data(task: Task, details: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """For a task that was just claimed. details: what the scheduler adds, such as `reason`."""
    data: dict[str, Any] = {"device": task.device, "model": task.options.model, "attempt": task.attempt}
    if task.progress > 0:
        data["progress"] = round(task.progress, 4)
    if task.attempt == 1:
        data["waited_seconds"] = round(max(0.0, (now - task.created_at).total_seconds()), 3)
    return {**data, **details}


def completed_data(task: Task, events: Sequence[TaskEvent], now: datetime) -> dict[str, Any]:
    """For a task that its last attempt has just completed. speed: seconds of sound done per second of that attempt."""
    if task.started_at is None:
        return {}
    seconds = max(0.0, (now - task.started_at).total_seconds())
    data = {"seconds": round(seconds, 3)}
    if seconds > 0 and task.audio_seconds:
        done_before = next(
            (event.data.get("progress", 0.0) for event in reversed(events) if event.code == STARTED), 0.0
        )
        data["speed"] = round(task.audio_seconds * (1 - done_before) / seconds, 3)
    return data


def has_progressed(task: Task, events: Sequence[TaskEvent]) -> bool:
    """Whether a processing task has finished a window in its attempt. events: its own."""
    started = next((event for event in reversed(events) if event.code == STARTED), None)
    done_before = started.data.get("progress", 0.0) if started else 0.0
    return isinstance(done_before, float | int) and round(task.progress, 4) > done_before


def error_data(error: ErrorInfo) -> dict[str, Any]:
    return {"code": error.code, "message": error.message}


def requeued_entry(after: Task, error: ErrorInfo | None, preempted_by: str | None = None) -> tuple[str, dict[str, Any]]:
    """Code and figures for an attempt that ended through no fault of the task's. after: the requeued task."""
    if preempted_by is not None:
        return GAVE_WAY, {"to_task": preempted_by, "progress": round(after.progress, 4)}
    return INTERRUPTED, {"code": GIVEN_BACK if error is None else error.code}


def _events_from_row(task: Task) -> Iterator[TaskEvent]:
    yield TaskEvent(task.created_at, UPLOADED, {"size_bytes": task.size_bytes})
    if task.started_at is not None:
        yield TaskEvent(task.started_at, STARTED, started_data(task.with_(progress=0.0), {}, task.started_at))
    if task.finished_at is None:
        return
    match task.status:
        case TaskStatus.COMPLETED:
            yield TaskEvent(task.finished_at, COMPLETED, completed_data(task, (), task.finished_at))
        case TaskStatus.FAILED if task.error is not None:
            yield TaskEvent(task.finished_at, FAILED, error_data(task.error))
        case TaskStatus.CANCELLED:
            yield TaskEvent(task.finished_at, CANCELLED)


# The sentence for each code

_REASONS = {reason.value: reason.sentence for reason in StartReason}
_MEMORY_STEPS = {
    "batch_shrunk": "Memory ran out, so fewer windows are worked on at the same time.",
    "model_evicted": "Memory ran out, so a model that was idle left it.",
    "moved_to_cpu": "Memory ran out, so the task goes on on the CPU.",
    "waits": "Memory ran out, so the task waits until there is more.",
}


def _uploaded(data: Mapping[str, Any]) -> str:
    return f"Uploaded, {data['size_bytes'] / 1e6:.1f} MB." if "size_bytes" in data else "Uploaded."


def _decoded(data: Mapping[str, Any]) -> str:
    read = f"Its sound was read: {duration(data['audio_seconds'])}."
    return (
        f"{read} The file is cut off or damaged; this is the part that could be read."
        if data.get("truncated")
        else read
    )


def _started(data: Mapping[str, Any]) -> str:
    begun = f"Started on {data['device']} with {data['model']}"
    if data.get("attempt", 1) > 1:
        begun += f", attempt {data['attempt']}"
    if data.get("progress"):
        begun += f", from {data['progress']:.0%} on"
    if "waited_seconds" in data:
        begun += f", after {duration(data['waited_seconds'])} of waiting"
    reason = data.get("reason")
    return f"{begun}: {_REASONS.get(reason, reason)}." if reason else f"{begun}."


def _gave_way(data: Mapping[str, Any]) -> str:
    done = f" at {data['progress']:.0%}" if "progress" in data else ""
    return f"Stepped aside{done} for a task that is shorter or more urgent; nothing is lost."


def _memory(data: Mapping[str, Any]) -> str:
    return _MEMORY_STEPS.get(data["step"], f"Memory ran out: {data['step']}.")


def _interrupted(data: Mapping[str, Any]) -> str:
    if data.get("code") == GIVEN_BACK:
        return "Stopped on the way; it continues after its last finished window."
    return f"Interrupted ({data['code']}); it continues after its last finished window."


def _retrying(data: Mapping[str, Any]) -> str:
    return f"The attempt failed: {_sentence(data['message'])} Next try in {duration(data['delay_seconds'])}."


def _prioritised(data: Mapping[str, Any]) -> str:
    return f"Its priority was set to {data['priority']}."


def _completed(data: Mapping[str, Any]) -> str:
    if "seconds" not in data:
        return "Done."
    speed = f", {data['speed']:.1f} times as fast as it plays" if "speed" in data else ""
    return f"Done after {duration(data['seconds'])}{speed}."


def _speakers(data: Mapping[str, Any]) -> str:
    return f"{_sentence(data['message'])} The text is not affected."


def _failed(data: Mapping[str, Any]) -> str:
    return f"Failed: {_sentence(data['message'])}"


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    UPLOADED: _uploaded,
    DECODED: _decoded,
    STARTED: _started,
    GAVE_WAY: _gave_way,
    MEMORY: _memory,
    INTERRUPTED: _interrupted,
    RETRYING: _retrying,
    PRIORITISED: _prioritised,
    MOVED: lambda _: "Moved within the line by hand.",
    SPEAKERS: _speakers,
    COMPLETED: _completed,
    FAILED: _failed,
    CANCELLED: lambda _: "Cancelled.",
    MEDIA_REMOVED: lambda _: "Its recording was removed, because recordings are kept for a limited time.",
    RESTARTED: lambda _: "Started over by hand.",
}


def _sentence(message: str) -> str:
    return message if message.endswith((".", "!", "?")) else f"{message}."
