"""Which uploads belong together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("batch_id", sa.String(64)))
    op.add_column("tasks", sa.Column("batch_name", sa.Text))
    some = sa.text("batch_id IS NOT NULL")
    op.create_index("ix_tasks_batch", "tasks", ["batch_id", "owner", "seq"], sqlite_where=some, postgresql_where=some)
