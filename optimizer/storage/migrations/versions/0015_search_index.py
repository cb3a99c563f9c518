"""What the search's index needs. The index itself is made when the store is opened, and filled in the background."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("task_texts", sa.Column("index_form", sa.Integer, nullable=False, server_default="0"))
    op.add_column("task_texts", sa.Column("sentences", sa.Text))
    op.create_index("ix_task_texts_index_form", "task_texts", ["index_form"])
    op.create_table(
        "search_removals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
