"""The first release's tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_tasks()
    op.create_table(
        "task_texts",
        sa.Column("task_id", sa.String(64), sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("folded_text", sa.Text, nullable=False),
    )
    op.create_table(
        "windows",
        sa.Column("task_id", sa.String(64), sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("window_index", sa.Integer, nullable=False),
        sa.Column("segments", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("task_id", "window_index", name="pk_windows"),
    )
    arrivals = op.create_table(
        "arrivals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(arrivals, [{"id": 1, "last_seq": 0}])


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("requested_device", sa.String(32), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("language", sa.String(16)),
        sa.Column("audio_seconds", sa.Double),
        sa.Column("progress", sa.Double, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("interrupts", sa.Integer, nullable=False),
        sa.Column("uncharged", sa.Integer, nullable=False),
        sa.Column("device", sa.String(32)),
        sa.Column("lease_token", sa.String(64)),
        sa.Column("lease_owner", sa.String(64)),
        sa.Column("not_before", sa.String(40)),
        sa.Column("windows_done", sa.Integer, nullable=False),
        sa.Column("estimated_bytes", sa.BigInteger),
        sa.Column("peak_bytes", sa.BigInteger),
        sa.Column("errors", sa.Text, nullable=False),
        sa.Column("started_at", sa.String(40)),
        sa.Column("finished_at", sa.String(40)),
        sa.Column("result_sha256", sa.String(64)),
        sa.Column("idempotency_key", sa.Text),
        sa.UniqueConstraint("seq", name="uq_tasks_seq"),
        sa.UniqueConstraint("idempotency_key", name="uq_tasks_idempotency_key"),
    )
    op.create_index("ix_tasks_status_seq", "tasks", ["status", "seq"])
    op.create_index("ix_tasks_model_seq", "tasks", ["model", "seq"])
