"""Whether a completed task has no text."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("is_silent", sa.Integer, nullable=False, server_default="0"))
