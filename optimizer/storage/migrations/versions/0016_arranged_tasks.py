"""In which order an owner wants waiting tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("arranged", sa.Double))
