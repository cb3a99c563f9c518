"""How a task says that it only tells the speakers of another one apart: by its idempotency key.

It has spaces in it, which a client's key cannot have (`task_form.read_idempotency_key`), so nobody else makes such a
task; and whoever asks for the same again meanwhile gets the same task.
"""

from __future__ import annotations

PREFIX = "speakers "


def speakers_key(task_id: str, num_speakers: int | None) -> str:
    """task_id: of the task whose speakers are to be told apart."""
    return f"{PREFIX}{task_id} {num_speakers or 'any'}"


def told_task(key: str | None) -> str | None:
    """The id of the task that a task with this key is about; None for any other task."""
    return key.removeprefix(PREFIX).partition(" ")[0] if key is not None and key.startswith(PREFIX) else None
