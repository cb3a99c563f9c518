"""Whether a task's recording is cut or damaged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("is_truncated", sa.Integer, nullable=False, server_default="0"))
