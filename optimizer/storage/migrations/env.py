"""How Alembic reaches the database: over the connection, and in the transaction, that the module `migrate` hands in."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Column, event

from optimizer.storage.schema import as_on_sqlite, metadata


def _as_on_sqlite(column: Column[Any], _: object) -> None:
    as_on_sqlite(column)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes most things only by copying the table
)
event.listen(Column, "after_parent_attach", _as_on_sqlite)
try:
    with context.begin_transaction():
        context.run_migrations()
finally:
    event.remove(Column, "after_parent_attach", _as_on_sqlite)
