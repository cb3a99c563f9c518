"""Values that tests of several folders need."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from optimizer.tasks.task import Priority, Task, TaskOptions, TaskStatus

_TASK = Task(
    id="T1",
    seq=1,
    filename="a.wav",
    status=TaskStatus.PROCESSING,
    options=TaskOptions(model="base"),
    priority=Priority.NORMAL,
    requested_device="auto",
    size_bytes=1,
    sha256="",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    max_attempts=4,
    audio_seconds=90.0,
    lease_token="lease",
)


def processing_task(**changes: Any) -> Task:
    """Task "T1", 90 s for `base`, under the lease "lease"."""
    return replace(_TASK, **changes)
