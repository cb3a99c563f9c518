"""What has to be sent when a task ends, written in the very transaction that ends it, so that a kill loses neither."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, delete, insert, select
from ulid import ULID

from optimizer.common.text import iso_time
from optimizer.storage.schema import webhook_callbacks, webhook_deliveries, webhooks
from optimizer.tasks.segments_key import PREFIX as SEGMENTS
from optimizer.tasks.speakers_key import PREFIX as SPEAKERS
from optimizer.tasks.task import Task, TaskStatus

# Whose address a delivery goes to, where it is not that of a webhook with an id.
CALLBACKS, SETTINGS = "callbacks", "settings"
EVENT_OF = {
    TaskStatus.COMPLETED: "task.completed",
    TaskStatus.FAILED: "task.failed",
    TaskStatus.CANCELLED: "task.cancelled",
}
PENDING = "pending"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def receiver_of(url: str) -> str:
    """Whose server it is, as host and port: deliveries to one do not hold up those to another."""
    parts = urlsplit(url)
    return f"{(parts.hostname or '').lower()}:{parts.port or _DEFAULT_PORTS.get(parts.scheme.lower(), 0)}"


def message_of(event: str, data: dict[str, Any], now: datetime) -> str:
    """The body that is signed and sent, the same at every attempt."""
    return json.dumps({"type": event, "timestamp": iso_time(now), "data": data}, ensure_ascii=False)


def new_delivery(webhook_id: str, owner: str, url: str, event: str, body: str, now: datetime) -> dict[str, Any]:
    """A row, to be sent at once. Its id stays the same over all attempts."""
    return {
        "id": f"msg_{ULID()}",
        "webhook_id": webhook_id,
        "owner": owner,
        "task_id": None,
        "event": event,
        "url": url,
        "receiver": receiver_of(url),
        "body": body,
        "status": PENDING,
        "attempts": 0,
        "next_at": now.timestamp(),
        "created_at": now.astimezone(UTC).isoformat(timespec="microseconds"),
    }


@dataclass(frozen=True)
class WebhookOutbox:
    """settings_urls: those of WEBHOOK_URLS, which are told of every task."""

    settings_urls: tuple[str, ...] = ()

    def note_endings(self, connection: Connection, changes: Iterable[tuple[TaskStatus | None, Task]]) -> None:
        """Of those that have just ended. changes: tasks, each after the state that it had before.

        Nobody is told of a task that only adds to another one's text: it goes as soon as that has what it found.
        """
        ended = [after for before, after in changes if _has_just_ended(before, after) and not _is_about_another(after)]
        if not ended:
            return
        told = connection.execute(select(webhooks).where(webhooks.c.disabled_at.is_(None))).all()
        of_task = webhook_callbacks.c.task_id.in_([task.id for task in ended])
        found = connection.execute(select(webhook_callbacks.c.task_id, webhook_callbacks.c.url).where(of_task))
        callbacks = {row.task_id: row.url for row in found}
        rows = [row for task in ended for row in self._deliveries(task, told, callbacks.get(task.id))]
        if rows:
            connection.execute(insert(webhook_deliveries), rows)

    def _deliveries(self, task: Task, told: Iterable[Row[Any]], callback: str | None) -> Iterator[dict[str, Any]]:
        if task.finished_at is None:
            return
        event, now = EVENT_OF[task.status], task.finished_at
        body = message_of(event, {"task": _told(task)}, now)
        for source, owner, url in self._receivers(task, event, told, callback):
            yield {**new_delivery(source, owner, url, event, body, now), "task_id": task.id}

    def _receivers(
        self, task: Task, event: str, told: Iterable[Row[Any]], callback: str | None
    ) -> Iterator[tuple[str, str, str]]:
        """Source, owner and address."""
        for row in told:
            if row.owner in ("", task.owner) and event in row.events.split(","):
                yield row.id, row.owner, row.url
        if callback is not None:
            yield CALLBACKS, task.owner, callback
        for url in self.settings_urls:
            yield SETTINGS, "", url


def _is_about_another(task: Task) -> bool:
    return (task.idempotency_key or "").startswith((SEGMENTS, SPEAKERS))


def _has_just_ended(before: TaskStatus | None, after: Task) -> bool:
    return after.finished_at is not None and after.status.is_final and not (before is not None and before.is_final)


def remove_of_task(connection: Connection, task_id: str) -> None:
    """Nothing of a deleted task is kept or sent any more."""
    for table in (webhook_callbacks, webhook_deliveries):
        connection.execute(delete(table).where(table.c.task_id == task_id))


def _told(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "filename": task.filename,
        "status": task.status.value,
        "options": {"model": task.options.model, "language": task.options.language, "task": task.options.task},
        "language": task.language,
        "audio_seconds": task.audio_seconds,
        "size_bytes": task.size_bytes,
        "attempts": task.attempt,
        "error": None if task.error is None else {"code": task.error.code, "message": task.error.message},
        "created_at": iso_time(task.created_at),
        "finished_at": None if task.finished_at is None else iso_time(task.finished_at),
        "url": f"/api/tasks/{task.id}",
        "transcript_url": f"/api/tasks/{task.id}/transcript" if task.status is TaskStatus.COMPLETED else None,
    }
