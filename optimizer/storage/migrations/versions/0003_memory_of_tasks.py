"""What was predicted and reserved for a task, beside what it was measured to take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("predicted_bytes", "reserved_bytes"):
        op.add_column("tasks", sa.Column(name, sa.BigInteger))
