"""Recordings that were found in the watched folder."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "watched_files",
        sa.Column("path_key", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("content_key", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("task_id", sa.String(64)),
        sa.Column("details", sa.Text),
        sa.Column("written", sa.Text, nullable=False),
    )
    op.create_index("ix_watched_files_task", "watched_files", ["task_id"])
    op.create_index("ix_watched_files_state", "watched_files", ["state"])
