"""How Alembic reaches the database: over the connection, and in the transaction, that the module `migrate` hands in."""

from __future__ import annotations

from alembic import context

from optimizer.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes most things only by copying the table
)
with context.begin_transaction():
    context.run_migrations()
