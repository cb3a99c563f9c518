"""What has to be sent when a task ends, written in the very transaction that ends it, so that a kill loses neither."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select
from ulid import ULID

from optimizer.common.text import iso_time
from optimizer.storage.schema import webhook_callbacks, webhook_deliveries, webhooks
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

    def note_ending(self, connection: Connection, before: TaskStatus | None, after: Task) -> None:
        """Does nothing unless the task has just ended."""
        if after.finished_at is None or not after.status.is_final or (before is not None and before.is_final):
            return
        now = after.finished_at
        event = EVENT_OF[after.status]
        body = message_of(event, {"task": _told(after)}, now)
        rows = [
            {**new_delivery(source, owner, url, event, body, now), "task_id": after.id}
            for source, owner, url in self._receivers(connection, after, event)
        ]
        if rows:
            connection.execute(insert(webhook_deliveries), rows)

    def _receivers(self, connection: Connection, task: Task, event: str) -> Iterable[tuple[str, str, str]]:
        """Source, owner and address."""
        is_told = webhooks.c.owner.in_(("", task.owner)) & webhooks.c.disabled_at.is_(None)
        for row in connection.execute(select(webhooks).where(is_told)):
            if event in row.events.split(","):
                yield row.id, row.owner, row.url
        callback = connection.scalar(select(webhook_callbacks.c.url).where(webhook_callbacks.c.task_id == task.id))
        if callback is not None:
            yield CALLBACKS, task.owner, callback
        for url in self.settings_urls:
            yield SETTINGS, "", url


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
