"""Finds the tasks of a file by its SHA-256."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("ix_tasks_sha256", "tasks", ["sha256", "seq"])
