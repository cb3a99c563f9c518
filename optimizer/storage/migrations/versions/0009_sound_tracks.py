"""The sound tracks of a task's file, and which of them is transcribed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("tracks", sa.Text))
