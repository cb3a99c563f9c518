"""What people call their tasks and write of them, and indexes for the orders of the list."""

from __future__ import annotations

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_KEY_CHARACTERS = 120
_SORTED_BY = ("created_at", "finished_at", "audio_seconds", "name_key")


def upgrade() -> None:
    op.add_column("tasks", sa.Column("title", sa.Text))
    op.add_column("tasks", sa.Column("note", sa.Text, nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("tags", sa.Text, nullable=False, server_default="[]"))
    op.add_column("tasks", sa.Column("name_key", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "task_tags",
        sa.Column("task_id", sa.String(64), sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("tag", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("task_id", "tag", name="pk_task_tags"),
    )
    op.create_index("ix_task_tags_tag", "task_tags", ["tag", "task_id"])
    _fill_name_keys()
    op.drop_index("ix_tasks_owner_status", "tasks")
    for column in _SORTED_BY:
        op.create_index(f"ix_tasks_{column}", "tasks", [column, "seq"])
    for column in ("status", "model", *_SORTED_BY):
        op.create_index(f"ix_tasks_owner_{column}", "tasks", ["owner", column, "seq"])


def _fill_name_keys() -> None:
    """As `mapping.name_key` makes them, which a database cannot."""
    tasks = sa.table("tasks", sa.column("id"), sa.column("filename"), sa.column("name_key"))
    connection = op.get_bind()
    rows = connection.execute(sa.select(tasks.c.id, tasks.c.filename)).all()
    keys = [{"of_task": row.id, "key": _key_of(row.filename)} for row in rows]
    if keys:
        by_id = sa.update(tasks).where(tasks.c.id == sa.bindparam("of_task"))
        connection.execute(by_id.values(name_key=sa.bindparam("key")), keys)


def _key_of(filename: object) -> str:
    """Also of a damaged row's."""
    text = filename if isinstance(filename, str) else ""
    return unicodedata.normalize("NFKC", text.encode("utf-8", "ignore").decode()).casefold()[:_KEY_CHARACTERS]
