"""PostgreSQL: one server at a time, also where a connection is lost that nobody knows of, and a database that is not
the same any more."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError

from errors import DatabaseDamagedError, DatabaseInUseError, DatabaseUnreachableError, StoreBusyError
from optimizer.common import failpoints
from optimizer.storage import postgresql_hold as hold
from optimizer.storage.database import Database
from optimizer.storage.migrate import Migrator
from optimizer.storage.postgresql import WRITING, PostgresqlDialect
from optimizer.storage.store import TaskStore
from tests import postgresql_server
from tests.databases import Databases
from tests.optimizer.queue.helpers import at_once
from tests.optimizer.storage.test_write_turns import wait_until
from tests.postgresql_server import PostgresqlServer
from tests.tcp_proxy import TcpProxy, tcp_proxy

LIMIT_S = 30


@pytest.fixture
def databases(postgresql: PostgresqlServer) -> Iterator[Databases]:
    databases = Databases(postgresql)
    yield databases
    databases.give_back()


@pytest.fixture
def url(databases: Databases, tmp_path: Path) -> str:
    return databases.url_of(tmp_path)


@pytest.fixture
def proxy(postgresql: PostgresqlServer) -> Iterator[TcpProxy]:
    with tcp_proxy(postgresql.port) as proxy:
        yield proxy


@pytest.fixture
def store(postgresql: PostgresqlServer, proxy: TcpProxy, url: str, tmp_path: Path) -> Iterator[TaskStore]:
    """A server's, whose connections go through the proxy."""
    with opened(tmp_path, url.replace(f":{postgresql.port}/", f":{proxy.port}/")) as store:
        yield store


@contextmanager
def opened(folder: Path, url: str) -> Iterator[TaskStore]:
    with closing(TaskStore(folder, url)) as store:
        store.open()
        yield store


def hold_of(store: TaskStore) -> hold.ServingHold:
    dialect = store.database.dialect
    assert isinstance(dialect, PostgresqlDialect)
    return dialect._hold


@contextmanager
def holding_socket(store: TaskStore) -> Iterator[socket.socket]:
    """Of the connection that holds the database."""
    holder = hold_of(store)._holder
    assert holder is not None
    with socket.socket(fileno=os.dup(holder.connection.fileno())) as found:
        yield found


def count(store: TaskStore) -> int:
    """Writes, and tells how often that was done."""
    with store.database.writing() as connection:
        connection.execute(text("UPDATE arrivals SET last_seq = last_seq + 1"))
        return int(connection.scalar(text("SELECT last_seq FROM arrivals")) or 0)


def holders(databases: Databases, folder: Path, lock: int = hold.SERVING) -> list[int]:
    its = (
        "locktype = 'advisory' AND granted AND objid = ? AND database = (SELECT oid FROM pg_database WHERE datname = ?)"
    )
    name = make_url(databases.url_of(folder)).database
    found = databases.execute(folder, f"SELECT pid FROM pg_locks WHERE {its}", lock, name)  # noqa: S608
    return [pid for (pid,) in found]


# A hold that was lost


def test_a_server_that_does_not_know_that_it_lost_its_hold_writes_nothing_beside_the_next(
    store: TaskStore, proxy: TcpProxy, databases: Databases, url: str, tmp_path: Path
) -> None:
    """As where its machine was paused: its connection shows nothing to read."""
    assert count(store) == 1
    with holding_socket(store) as held:
        proxy.cut_server_side(held)
    wait_until(lambda: holders(databases, tmp_path) == [])
    assert count(store) == 2  # nobody else has it

    with opened(tmp_path / "other", url) as other:
        with pytest.raises(DatabaseDamagedError, match="Another server has taken the database"):
            count(store)
        assert count(other) == 3
    with pytest.raises(DatabaseDamagedError, match="restart the other"):
        count(store)


def test_a_new_server_leaves_its_mark_while_nobody_can_write_and_before_it_reads_anything(
    databases: Databases, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what the one before it writes is there by then, or is refused."""
    writers: list[list[int]] = []
    leave_mark = hold.ServingHold.leave_mark

    def leave(self: hold.ServingHold, connection: Connection) -> Callable[[], None]:
        writers.append(holders(databases, tmp_path, WRITING))
        assert writers == [[connection.scalar(text("SELECT pg_backend_pid()"))]]
        return leave_mark(self, connection)

    def read(_store: TaskStore) -> None:
        assert len(writers) == 1

    monkeypatch.setattr(hold.ServingHold, "leave_mark", leave)
    monkeypatch.setattr(TaskStore, "_prepare_search", read)
    with opened(tmp_path, url):
        assert len(writers) == 1


def test_a_server_that_loses_its_hold_to_another_one_while_it_starts_writes_nothing(
    databases: Databases, postgresql: PostgresqlServer, proxy: TcpProxy, url: str, tmp_path: Path
) -> None:
    first = TaskStore(tmp_path, url.replace(f":{postgresql.port}/", f":{proxy.port}/"))
    dialect = first.database.dialect
    dialect.check_start(tmp_path)
    with holding_socket(first) as held:
        proxy.cut_server_side(held)
    wait_until(lambda: holders(databases, tmp_path) == [])
    with opened(tmp_path / "other", url):
        with pytest.raises(DatabaseInUseError):
            count(first)
        with pytest.raises(DatabaseInUseError), first.database.rebuilding():
            pass
        with pytest.raises(DatabaseInUseError):
            first.database.take_over()
    first.close()


def test_a_server_ends_its_own_lost_connection_that_the_database_has_for_alive(
    store: TaskStore, proxy: TcpProxy, databases: Databases, tmp_path: Path
) -> None:
    before = holders(databases, tmp_path)
    with holding_socket(store) as held:
        proxy.cut_client_side(held)
    assert count(store) == 1
    after = holders(databases, tmp_path)
    assert len(before) == len(after) == 1
    assert before != after


def test_a_server_waits_while_another_one_has_taken_its_lost_hold_and_not_begun(
    store: TaskStore, databases: Databases, tmp_path: Path
) -> None:
    """One that begins leaves a mark; one that cannot lets it go."""
    postgresql, name = databases.server, str(make_url(databases.url_of(tmp_path)).database)
    assert postgresql is not None
    (pid,) = holders(databases, tmp_path)
    with postgresql.connected(name) as other:
        databases.execute(tmp_path, "SELECT pg_terminate_backend(?)", pid)
        wait_until(lambda: bool(other.execute(f"SELECT pg_try_advisory_lock({hold.SERVING})").fetchone()[0]))
        for _ in range(2):
            with pytest.raises(StoreBusyError):
                count(store)
        assert holders(databases, tmp_path) == [other.info.backend_pid]
    wait_until(lambda: holders(databases, tmp_path) == [])
    assert count(store) == 1


def test_what_a_thread_writes_after_its_server_has_stopped_is_refused(url: str, tmp_path: Path) -> None:
    with opened(tmp_path, url) as store:
        assert count(store) == 1
    with opened(tmp_path / "other", url) as other:
        with pytest.raises(StoreBusyError, match="has stopped"):
            count(store)
        store.close()
        assert count(other) == 2


def test_a_stop_while_the_hold_is_taken_again_lets_it_go(
    store: TaskStore, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pid,) = holders(databases, tmp_path)
    databases.execute(tmp_path, "SELECT pg_terminate_backend(?)", pid)
    wait_until(lambda: holders(databases, tmp_path) == [])
    take = hold._take

    def take_during_stop(holder: hold._Holder) -> bool:
        hold_of(store).let_go()
        return take(holder)

    monkeypatch.setattr(hold, "_take", take_during_stop)
    with pytest.raises(StoreBusyError, match="has stopped"):
        count(store)
    wait_until(lambda: holders(databases, tmp_path) == [])


def test_no_setting_of_the_database_ends_a_hold_that_is_idle(
    postgresql: PostgresqlServer, databases: Databases, url: str, tmp_path: Path
) -> None:
    name = str(make_url(url).database)
    if not postgresql.execute("SELECT 1 FROM pg_settings WHERE name = 'idle_session_timeout'"):
        pytest.skip("PostgreSQL 13 has no such setting")
    postgresql.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '1h'")
    with opened(tmp_path, url) as store:
        holder = hold_of(store)._holder
        assert holder is not None
        assert holder.connection.execute("SHOW idle_session_timeout").fetchone() == ("0",)
    postgresql.execute(f"ALTER DATABASE {name} RESET ALL")


def test_an_error_while_the_hold_is_taken_is_one_of_ours(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_holder: object) -> bool:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(hold, "_take", fail)
    with closing(TaskStore(tmp_path, url)) as store, pytest.raises(DatabaseUnreachableError):
        store.open()


def test_a_server_starts_and_writes_where_transactions_are_read_only_by_default(
    postgresql: PostgresqlServer, url: str, tmp_path: Path
) -> None:
    name = make_url(url).database
    postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with opened(tmp_path, url) as store:
        assert count(store) == 1
    postgresql.execute(f"ALTER DATABASE {name} RESET ALL")


def test_commands_that_find_an_empty_database_at_the_same_time_make_its_tables_once(
    postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    name = postgresql.new_database()

    def make_tables() -> None:
        database = Database(make_url(postgresql.url(name)))
        try:
            Migrator(database).run_beside_server()
        finally:
            database.close()

    assert at_once(*[make_tables] * 4) == [None] * 4
    postgresql.drop(name)


# Transactions


def test_writers_of_one_transaction_whose_connection_is_lost_are_told_so(
    databases: Databases, url: str, tmp_path: Path
) -> None:
    lost: list[bool] = []
    futures: list[Future[int]] = []

    with opened(tmp_path, url) as store, ThreadPoolExecutor(5) as pool:
        turns = store.database._turns

        def lose() -> None:
            if not lost:
                lost.append(True)
                (pid,) = holders(databases, tmp_path, WRITING)
                databases.execute(tmp_path, "SELECT pg_terminate_backend(?)", pid)
                wait_until(lambda: holders(databases, tmp_path, WRITING) == [])

        def write_first() -> None:
            with store.database.writing() as connection:
                connection.execute(text("UPDATE arrivals SET last_seq = 4711"))
                for number in range(1, 6):
                    futures.append(pool.submit(count, store))
                    wait_until(lambda number=number: len(turns._waiting) == number)  # type: ignore[misc]

        failpoints.arm({"store.before_commit": lose})
        with pytest.raises(StoreBusyError):
            write_first()
        errors = [future.exception(LIMIT_S) for future in futures]
        failpoints.disarm()
        assert [type(error) for error in errors] == [StoreBusyError, *[type(None)] * 4]
        assert count(store) == 5


@pytest.mark.parametrize("way", ["writing", "rebuilding"])
def test_an_error_that_a_writer_passes_over_is_told_because_nothing_was_stored(
    url: str, tmp_path: Path, way: str
) -> None:
    def write(store: TaskStore) -> None:
        with getattr(store.database, way)() as connection:
            connection.execute(text("UPDATE arrivals SET last_seq = 4711"))
            with pytest.raises(DBAPIError):
                connection.execute(text("SELECT 1 / 0"))

    with opened(tmp_path, url) as store:
        with pytest.raises(StoreBusyError):
            write(store)
        assert count(store) == 1


def test_nobody_waits_for_a_table_without_limit(url: str, tmp_path: Path) -> None:
    with opened(tmp_path, url) as store:
        with store.database.reading() as connection:
            assert connection.scalar(text("SHOW lock_timeout")) == "5s"
        shared = store.database._begin_to_write(1)  # whose turn came late
        assert shared.connection.scalar(text("SHOW lock_timeout")) == "5s"
        shared.commit()


def test_no_setting_of_the_database_cuts_a_migration_off(
    postgresql: PostgresqlServer, url: str, tmp_path: Path
) -> None:
    name = make_url(url).database
    postgresql.execute(f"ALTER DATABASE {name} SET statement_timeout = '1h'")
    with opened(tmp_path, url) as store:
        with store.database.rebuilding() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) == "0"
        with store.database.writing() as connection:
            assert connection.scalar(text("SHOW statement_timeout")) == "1h"
    postgresql.execute(f"ALTER DATABASE {name} RESET ALL")


# A database that is not the same any more


def test_a_server_whose_database_was_replaced_writes_nothing_until_its_restart(
    postgresql: PostgresqlServer, databases: Databases, url: str, tmp_path: Path
) -> None:
    """Also where the mark is in the other one, as in a copy or a backup. Who asked for it is told once."""
    told: list[str | None] = []
    name = str(make_url(url).database)
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with opened(tmp_path, url) as store:
        dialect = store.database.dialect
        dialect.when_given_up(lambda: told.append(dialect.obstacle()))
        store.database.close()
        postgresql.execute(end_all, name)
        postgresql.execute(f"CREATE DATABASE {name}_old TEMPLATE {name}")
        assert count(store) == 1
        store.database.close()
        postgresql.execute(end_all, name)
        postgresql.execute(f"ALTER DATABASE {name} RENAME TO {name}_new")
        postgresql.execute(f"ALTER DATABASE {name}_old RENAME TO {name}")
        for _ in range(2):
            with pytest.raises(DatabaseDamagedError, match="Restart the server"):
                count(store)
        assert told == [hold.REPLACED]
        dialect.when_given_up(lambda: told.append("at once"))
        assert told == [hold.REPLACED, "at once"]
        assert holders(databases, tmp_path) == []
    with opened(tmp_path, url) as store:
        assert store.database.dialect.obstacle() is None
        assert count(store) == 1
    postgresql.drop(f"{name}_new")


def test_a_commit_is_not_looked_up_in_another_history(url: str, tmp_path: Path) -> None:
    with opened(tmp_path, url) as store:
        dialect = store.database.dialect
        assert isinstance(dialect, PostgresqlDialect)
        with store.database.writing() as connection:
            number = str(connection.scalar(text("SELECT pg_current_xact_id()::text")))
        holder = hold_of(store)._holder
        assert holder is not None
        ours = holder.history
        assert dialect.was_committed(number, 0, ours)
        with pytest.raises(DatabaseDamagedError, match="Restart the server"):
            dialect.was_committed(number, 0, hold.History(ours.server, "00000009", ours.database))


def test_only_the_process_that_still_has_the_transaction_is_ended(
    databases: Databases, url: str, tmp_path: Path
) -> None:
    postgresql, name = databases.server, str(make_url(url).database)
    assert postgresql is not None
    with opened(tmp_path, url) as store, postgresql.connected(name) as writer, postgresql.connected(name) as other:
        dialect, holder = store.database.dialect, hold_of(store)._holder
        assert isinstance(dialect, PostgresqlDialect)
        assert holder is not None
        writer.execute("BEGIN")
        (number,) = writer.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert dialect._outcome(number, other.info.backend_pid, holder.history) == "in progress"
        assert other.execute("SELECT 1").fetchone() == (1,)
        assert writer.execute("SELECT 1").fetchone() == (1,)
        assert not dialect.was_committed(number, writer.info.backend_pid, holder.history)
        with pytest.raises(psycopg.OperationalError):
            writer.execute("SELECT 1")


def test_a_copy_that_was_promoted_is_another_database(tmp_path: Path) -> None:
    """Its timeline is another one; here the server itself begins one, as after a recovery from its log."""
    if (reason := postgresql_server.missing()) is not None:
        pytest.skip(reason)
    with (
        postgresql_server.running() as server,
        opened(tmp_path, server.url(server.database())) as store,
        postgresql_server.outliving(server),
    ):
        assert count(store) == 1
        server.stop(signal.SIGINT)
        (Path(server.data) / "recovery.signal").touch()
        with open(Path(server.data) / "postgresql.auto.conf", "a") as settings:
            settings.write("restore_command = 'false'\n")
        server.start()
        pause = threading.Event()
        while server.execute("SELECT pg_is_in_recovery()") != [(False,)]:
            pause.wait(0.05)
        with pytest.raises(DatabaseDamagedError, match="Restart the server"):
            count(store)
        store.close()
        with opened(tmp_path / "again", store_url(store)) as again:
            assert count(again) == 2


def store_url(store: TaskStore) -> str:
    dialect = store.database.dialect
    assert isinstance(dialect, PostgresqlDialect)
    return dialect._url.render_as_string(hide_password=False)
