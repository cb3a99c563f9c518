"""When a task's recording was removed for its age."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("media_removed_at", sa.String(40)))
    some = sa.text("media_removed_at IS NULL")
    op.create_index("ix_tasks_kept_media", "tasks", ["finished_at"], sqlite_where=some, postgresql_where=some)
