"""What a kind of database does in its own way: SQLite (`sqlite.py`) and PostgreSQL (`postgresql.py`).

All the rest is SQLAlchemy's Core, the same for both: statements, tables, migrations, and who writes when.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from errors import TranscriptionServerError

BUSY_TIMEOUT_MS = 5000
KEPT_CONNECTIONS = 32
CANNOT_WRITE = "The database cannot be written. Check the permissions of it and its folder."
NO_RIGHTS = (
    "The database's user may not write there. Make the database its own (createdb --owner=USER), or GRANT it CREATE on "
    "the schema and all rights on the tables."
)
READ_ONLY = "The database takes no changes: its server is a copy, or default_transaction_read_only is on."
UNWRITABLE = frozenset({CANNOT_WRITE, NO_RIGHTS, READ_ONLY})


class WriteTransaction(Protocol):
    """One that has begun, with everybody else's writing kept off until its end."""

    @property
    def is_open(self) -> bool:
        """False once the database has given it up, with all that was changed in it."""

    def commit(self) -> None:
        """Returns once it is durable. Raises what the database raises, and then nothing of it was kept."""

    def rollback(self) -> None: ...


class Dialect(Protocol):
    """Any thread, but for a server's life."""

    @property
    def file(self) -> Path | None:
        """SQLite's."""

    def make_engine(self) -> Engine:
        """Connects when it is used. Every connection is durable, and a reader has one consistent view."""

    def begin(self, connection: Connection, left_ms: int) -> WriteTransaction:
        """left_ms: how long other processes may be waited for. Raises what the database raises, DatabaseDamagedError
        where nothing may be written any more."""

    def rebuilding(self, connection: Connection) -> AbstractContextManager[None]:
        """A transaction for migrations. Commits at its end."""

    def empty_log(self, engine: Engine, wait_ms: int) -> bool:
        """Takes deleted rows out of the database's log, while nobody writes. Returns whether that was possible."""

    def translate(self, error: DBAPIError) -> TranscriptionServerError:
        """The error of ours that stands for the database's."""

    # A server's life

    def obstacle(self) -> str | None:
        """Why nothing may be written until a restart, if so."""

    def when_given_up(self, act: Callable[[], None]) -> None:
        """Calls it once there is an obstacle, from any thread."""

    def check_start(self, data_dir: Path) -> None:
        """Before anything else of a server uses the database. Raises StartError."""

    def check_command(self, data_dir: Path) -> None:
        """The same for a command beside a server, which may not wait for it. Raises StartError."""

    def take_over(self) -> None:
        """From here on nothing more is written by a server that had the database before, should it not know yet that
        it lost it. After `check_start`; the tables are of this version. Raises what `begin` raises."""

    def begin_serving(self) -> None:
        """The tables are of this version, and can be written."""

    def end_serving(self) -> None:
        """Harmless when repeated, or when it did not begin."""

    def forget_command(self) -> None:
        """A command has closed its connections."""

    def advice(self) -> str:
        """What to do about a database that is damaged, as sentences."""
