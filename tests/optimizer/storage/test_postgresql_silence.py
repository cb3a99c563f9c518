"""PostgreSQL: a connection on which nothing comes any more, though nobody has closed it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, make_url, text

from errors import DatabaseUnreachableError
from optimizer.storage import postgresql_silence as silence
from optimizer.storage.postgresql import PostgresqlDialect, connect_beside
from optimizer.storage.postgresql_silence import WatchedConnection
from optimizer.storage.store import TaskStore
from tests.databases import Databases
from tests.postgresql_server import PostgresqlServer
from tests.tcp_proxy import TcpProxy, tcp_proxy

SOON_S = 0.2
LATER_S = 2.5


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of connections that were set up: a machine that is busy may be late with the first answer."""
    monkeypatch.setattr(silence, "SILENT_S", SOON_S)


@pytest.fixture
def patient(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked sooner whether it is at work, a busy machine's database server may not have read the statement yet."""
    monkeypatch.setattr(silence, "SILENT_S", LATER_S / 2)


@pytest.fixture
def databases(postgresql: PostgresqlServer) -> Iterator[Databases]:
    databases = Databases(postgresql)
    yield databases
    databases.give_back()


@pytest.fixture
def proxy(postgresql: PostgresqlServer) -> Iterator[TcpProxy]:
    with tcp_proxy(postgresql.port) as proxy:
        yield proxy


@pytest.fixture
def url(postgresql: PostgresqlServer, databases: Databases, proxy: TcpProxy, tmp_path: Path) -> str:
    """Through the proxy."""
    return databases.url_of(tmp_path).replace(f":{postgresql.port}/", f":{proxy.port}/")


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection[object]]:
    with closing(connect_beside(make_url(url))) as connection:
        yield connection


@pytest.mark.usefixtures("patient")
def test_a_statement_that_takes_long_is_waited_for(connection: psycopg.Connection[object]) -> None:
    assert connection.execute("SELECT 1 FROM pg_sleep(%s)", [LATER_S]).fetchone() == (1,)


@pytest.mark.usefixtures("patient")
def test_a_statement_that_waits_for_a_lock_is_waited_for(
    connection: psycopg.Connection[object], url: str, postgresql: PostgresqlServer
) -> None:
    with postgresql.connected(str(make_url(url).database)) as other:
        other.execute("SELECT pg_advisory_lock(4711)")
        letting_go = threading.Timer(LATER_S, other.execute, ["SELECT pg_advisory_unlock(4711)"])
        letting_go.start()
        assert connection.execute("SELECT 1 FROM pg_advisory_lock(4711)").fetchone() == (1,)
        letting_go.join()


@pytest.mark.parametrize("is_all_silent", [False, True], ids=["this connection", "the whole server"])
def test_a_statement_whose_answer_will_never_come_ends_with_its_connection(
    connection: psycopg.Connection[object], proxy: TcpProxy, is_all_silent: bool
) -> None:
    proxy.swallow_all() if is_all_silent else proxy.swallow_present()
    with pytest.raises(psycopg.OperationalError, match="silent"):
        connection.execute("SELECT 1")
    assert connection.closed


def test_a_full_house_is_no_sign_that_nothing_is_done(
    connection: psycopg.Connection[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise psycopg.OperationalError('connection to server at "127.0.0.1" failed: FATAL:  sorry, too many clients')

    monkeypatch.setattr(WatchedConnection, "connect", refuse)
    assert connection.execute("SELECT 1 FROM pg_sleep(%s)", [5 * SOON_S]).fetchone() == (1,)


def test_a_server_whose_connections_have_fallen_silent_goes_on_with_new_ones(
    url: str, proxy: TcpProxy, tmp_path: Path
) -> None:
    """Those of its pool, and the one that holds the database."""
    with closing(TaskStore(tmp_path, url)) as store:
        store.open()
        proxy.swallow_present()
        with store.database.writing() as connection:
            connection.execute(text("UPDATE arrivals SET last_seq = 4711"))
        assert store.problem() is None


def test_a_start_whose_connection_falls_silent_ends_so_that_it_can_be_tried_again(
    url: str, proxy: TcpProxy, tmp_path: Path
) -> None:
    """As a standby's that is to lead."""
    store = TaskStore(tmp_path, url)
    dialect = store.database.dialect
    assert isinstance(dialect, PostgresqlDialect)
    event.listen(dialect._engine_made, "connect", lambda *_: proxy.swallow_all())
    with closing(store), pytest.raises(DatabaseUnreachableError, match="cannot be reached"):
        store.open()
