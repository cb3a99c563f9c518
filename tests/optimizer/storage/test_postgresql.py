"""PostgreSQL: what is durable, who may write, and what is left when its server goes away in the middle of something."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text

from errors import (
    DatabaseDamagedError,
    DatabaseInUseError,
    DatabaseUnreachableError,
    DataFolderUnusableError,
    DiskFullError,
    InvalidSettingsError,
    StoreBusyError,
)
from optimizer.common import failpoints
from optimizer.storage import postgresql as dialect
from optimizer.storage import postgresql_checks, search_check, tsvector_index
from optimizer.storage import postgresql_hold as hold
from optimizer.storage.database import Database
from optimizer.storage.migrate import Migrator
from optimizer.storage.postgresql import MOST_CONNECTIONS, PostgresqlDialect
from optimizer.storage.postgresql_address import checked_address, place_of
from optimizer.storage.postgresql_errors import start_error
from optimizer.storage.read_only import reading
from optimizer.storage.schema import metadata
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import TaskFilter, TaskSort, TaskStatus
from tests import postgresql_server
from tests.databases import Databases, used, used_of
from tests.optimizer.fakes import FakeClock
from tests.optimizer.faults import NthHit
from tests.optimizer.queue.helpers import Queue, at_once, new_task, running_queue
from tests.optimizer.storage.test_pages import ids
from tests.optimizer.storage.test_search import complete
from tests.postgresql_server import PASSWORD, USER, PostgresqlServer
from tests.tcp_proxy import tcp_proxy

LIMIT_S = 30


@pytest.fixture
def databases(postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Databases]:
    """`running_queue` and the like use PostgreSQL."""
    with used_of(postgresql, monkeypatch) as databases:
        yield databases


@pytest.fixture
def queue(databases: Databases, tmp_path: Path) -> Iterator[Queue]:
    with running_queue(tmp_path, FakeClock()) as queue:
        yield queue


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresqlServer]:
    """One that the test may stop, start and kill, and which `running_queue` uses."""
    if (reason := postgresql_server.missing()) is not None:
        pytest.skip(reason)
    with postgresql_server.running() as server, used(Databases(server), monkeypatch):
        yield server


# Transactions


def test_a_commit_is_durable_also_where_the_server_s_settings_say_otherwise(
    databases: Databases, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    name = make_url(databases.url_of(tmp_path)).database
    postgresql.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with running_queue(tmp_path, FakeClock()) as queue, queue.store.database.writing() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
    postgresql.execute(f"ALTER DATABASE {name} RESET synchronous_commit")


def test_readers_have_one_view_and_cannot_write(queue: Queue) -> None:
    with queue.store.database.reading() as connection:
        shown = [connection.scalar(text(f"SHOW transaction_{name}")) for name in ("isolation", "read_only")]
    assert shown == ["repeatable read", "on"]
    with pytest.raises(DatabaseDamagedError), queue.store.database.reading() as connection:
        connection.execute(text("DELETE FROM tasks"))
    with queue.store.database.writing() as connection:
        shown = [connection.scalar(text(f"SHOW transaction_{name}")) for name in ("isolation", "read_only")]
    assert shown == ["read committed", "off"]


def test_two_processes_never_write_at_the_same_time(databases: Databases, tmp_path: Path) -> None:
    """Each counts by reading first and writing afterwards."""
    with running_queue(tmp_path, FakeClock()) as queue:
        other = Database(make_url(databases.url_of(tmp_path)))

        def count(database: Database) -> None:
            for _ in range(20):
                with database.writing() as connection:
                    last = connection.scalar(text("SELECT last_seq FROM arrivals"))
                    connection.execute(text("UPDATE arrivals SET last_seq = :next"), {"next": (last or 0) + 1})

        at_once(*(lambda: count(queue.store.database), lambda: count(other)) * 2)
        with queue.store.writing() as rows:
            assert rows.next_seq() == 81
        other.close()


def test_names_are_in_the_order_of_their_bytes_whatever_the_database_s_language(queue: Queue) -> None:
    for number, name in enumerate(["b", "B", "a", "ä", "_", "Z"]):
        queue.submit(f"t{number}", filename=name)
    with queue.store.reading() as rows:
        keys = [task.filename for task in rows.page(TaskFilter(sort=TaskSort.NAME, is_descending=False)).tasks]
    assert keys == ["_", "a", "b", "B", "Z", "ä"]
    with queue.store.database.reading() as connection:
        collations = connection.execute(
            text(
                "SELECT DISTINCT collation_name FROM information_schema.columns WHERE table_schema = 'public' "
                "AND data_type IN ('text', 'character varying') AND table_name <> 'alembic_version'"
            )
        )
        assert collations.scalars().all() == ["C"]


def test_a_nul_that_a_model_wrote_is_shown_as_what_cannot_be_shown(queue: Queue) -> None:
    task = complete(queue, "a", "before\0after")
    assert (task.status, ids(queue, query="before")) == (TaskStatus.COMPLETED, ["a"])
    (hit,) = queue.manager.page(TaskFilter(query="before")).hits.values()
    assert "".join(part.text for part in hit.snippet) == "before\ufffdafter"
    assert ids(queue, sha256="\0") == []


def test_a_long_text_has_several_rows_in_the_index_and_is_found_by_words_of_all_of_them(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tsvector_index, "PART_BYTES", 100)
    complete(queue, "a", " ".join(f"word{number}" for number in range(40)), owner="alice")
    complete(queue, "b", "word1 word2", owner="bob")
    with queue.store.database.reading() as connection:
        assert (connection.scalar(text("SELECT count(*) FROM search_index WHERE task_id = 'a'")) or 0) > 10
        assert search_check.agrees(connection)
    assert ids(queue, query="word1 word39 word2 ") == ["a"]
    assert ids(queue, query='"word1 word2" ') == ["b", "a"]
    assert ids(queue, query="word1 word39", owner="bob") == []
    queue.manager.delete("a")
    assert ids(queue, query="word39") == []


@pytest.mark.parametrize("few", [0, 2, 3])
def test_a_search_finds_the_same_by_the_ids_of_few_and_by_a_walk_through_the_tasks(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(tsvector_index, "FEW", few)
    for task_id, words in (("a", "one two"), ("b", "one"), ("c", "once"), ("d", "two")):
        complete(queue, task_id, words)
    assert ids(queue, query="on") == ["c", "b", "a"]
    assert ids(queue, query="one ") == ["b", "a"]
    assert ids(queue, query="two on") == ["a"]
    assert ids(queue, query="three") == []
    assert ids(queue, query="on", limit=2) == ["c", "b"]


def test_an_index_that_lacks_a_word_is_found_out(databases: Databases, queue: Queue, tmp_path: Path) -> None:
    complete(queue, "a", "one two three")
    databases.execute(tmp_path, "UPDATE search_index SET terms = ts_delete(terms, 'two')")
    with queue.store.database.reading() as connection:
        assert not search_check.agrees(connection)


# Migrations


def columns_of(postgresql: PostgresqlServer, name: str) -> list[tuple[object, ...]]:
    statement = (
        "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'search_index' ORDER BY 1, 2"
    )
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'search_index' ORDER BY 1"
    return postgresql.execute(statement, database=name) + postgresql.execute(indexes, database=name)


def test_all_migrations_lead_from_nothing_to_the_tables_that_new_databases_get(
    postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    name = postgresql.new_database()
    postgresql.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)", database=name)
    postgresql.execute("INSERT INTO alembic_version VALUES ('0000')", database=name)
    from tests.optimizer.storage.test_migrations import scripts_with_empty_base

    database = Database(make_url(postgresql.url(name)))
    Migrator(database, scripts=scripts_with_empty_base(tmp_path / "migrations")).run()
    database.close()
    migrated = columns_of(postgresql, name)
    assert migrated == columns_of(postgresql, postgresql_server.TEMPLATE)
    assert len({row[0] for row in migrated if len(row) > 1}) == len(metadata.tables) + 1
    postgresql.drop(name)


def test_a_migration_that_fails_leaves_the_tables_as_they_were(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    from tests.optimizer.storage.test_migrations import scripts_with_empty_base

    name = postgresql.new_database()
    postgresql.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)", database=name)
    postgresql.execute("INSERT INTO alembic_version VALUES ('0000')", database=name)
    database = Database(make_url(postgresql.url(name)))

    def cut() -> None:
        raise KeyError

    failpoints.arm({"schema.before_commit": cut})
    with pytest.raises(KeyError):
        Migrator(database, scripts=scripts_with_empty_base(tmp_path / "migrations")).run()
    database.close()
    assert len(columns_of(postgresql, name)) == 2
    postgresql.drop(name)


# Errors of the start


def start(url: str, tmp_path: Path) -> None:
    with closing(TaskStore(tmp_path, url)) as store:
        store.open()


def refused(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Exception:
    with pytest.raises((DatabaseUnreachableError, InvalidSettingsError)) as stopped:
        start(url, tmp_path)
    assert PASSWORD not in f"{stopped.value!r} {stopped.value.__cause__!r} {caplog.text}"
    return stopped.value


def test_why_a_server_cannot_be_used_is_told_without_its_password(
    postgresql: PostgresqlServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, name = postgresql.url(), f"127.0.0.1:{postgresql.port}"
    for wrong, error, message in (
        (postgresql.url(password="wr0ng"), InvalidSettingsError, "the user or the password is wrong"),
        (url.replace(f":{PASSWORD}@", "@"), InvalidSettingsError, "it wants a password"),
        (postgresql.url("nowhere"), InvalidSettingsError, "it has no database of that name"),
        (f"{url}?sslmode=require", InvalidSettingsError, "it does not take connections like this one"),
        (f"{url}?sslmode=sometimes", InvalidSettingsError, "an option with a value"),
        (f"{url}?colour=green", InvalidSettingsError, "an option that PostgreSQL's client does not know"),
        (f"{url}?prepare_threshold=0", InvalidSettingsError, "an option that PostgreSQL's client does not know"),
        (f"{url}?connect_timeout=3&connect_timeout=4", InvalidSettingsError, "or one twice"),
        (f"{url}?connect_timeout=soon", InvalidSettingsError, "an option that PostgreSQL's client does not know"),
        (f"{url}?options=-csearch_path%3Dnosuch", InvalidSettingsError, "no schema that the tables could be in"),
        (url.replace(str(postgresql.port), "1"), DatabaseUnreachableError, "at 127.0.0.1:1 cannot be reached"),
        (url.replace("127.0.0.1", "nowhere.invalid"), DatabaseUnreachableError, "cannot be reached"),
    ):
        found = refused(wrong, tmp_path, caplog)
        assert type(found) is error, wrong
        assert message in str(found)
        assert name in str(found) or error is not InvalidSettingsError or "option" in str(found)
        assert "wr0ng" not in f"{found!r} {found.__cause__!r} {caplog.text}"


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:pa@ss@host/name", "postgresql://u:p@host:port/name", "postgresql://u:pa/ss@host:1x/n", "nonsense",
     "mysql://u:pass@host/name", "postgresql://u:pa@ss@host%2Fx/name", "postgresql://u:pass@/n?host=a&host=b&port=1",
     "postgresql://u:pass@h/n?host=pa@ss", "postgresql://u:pass@/n?host=a,b&port=1,2,3"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_without_being_quoted(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError) as stopped:
        TaskStore(tmp_path, url)
    assert "DATABASE_URL" in str(stopped.value)
    assert not any(part in str(stopped.value) for part in ("pa@ss", "ss@host", "pa/ss", "u:pass"))
    assert stopped.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "place"),
    [("postgresql://u@db/n", "at db:5432"), ("postgresql://u@[::1]:1/n", "at ::1:1"),
     ("postgresql:///n", "of this machine"),
     ("postgresql://u@/n?host=/run/pg&port=1", "of this machine"),
     ("postgresql://u:p@%2Fvar%2Frun%2Fpostgresql:5433/n", "of this machine"),
     ("postgresql://u@/n?host=a:1&host=b", "at a:1, b:5432"), ("postgresql://u@/n?host=a:1", "at a:1"),
     ("postgresql://u@/n?host=a,b&port=1,2", "at a:1, b:2"), ("postgresql://u@/n?host=a,b", "at a:5432, b:5432")],
)  # fmt: skip
def test_every_form_of_naming_hosts_that_libpq_knows_is_taken_and_told(url: str, place: str) -> None:
    address = checked_address(make_url(url))
    assert place_of(address) == place
    PostgresqlDialect(make_url(url)).make_engine()
    if "%2F" in url:
        assert address.query == {"host": "/var/run/postgresql", "port": "5433"}


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [("FATAL:  password authentication failed for user", InvalidSettingsError, "the user or the password is wrong"),
     ("FATAL:  no pg_hba.conf entry for host", InvalidSettingsError, "see pg_hba.conf there"),
     ("SSL error: certificate verify failed", InvalidSettingsError, "of no authority in the file"),
     ('channel binding required but not supported by server', InvalidSettingsError, "sslmode here"),
     ("FATAL:  too many connections for role", DatabaseUnreachableError, "let nobody in"),
     ("ФАТАЛЬНАЯ ОШИБКА:  слишком много подключений", DatabaseUnreachableError, "let nobody in"),
     ("server closed the connection unexpectedly\n\tThis probably", DatabaseUnreachableError, "cannot be reached"),
     ("could not receive data from server: Connection reset", DatabaseUnreachableError, "cannot be reached"),
     ("SSL SYSCALL error: EOF detected", DatabaseUnreachableError, "cannot be reached"),
     ("SSL connection has been closed unexpectedly", DatabaseUnreachableError, "cannot be reached")],
)  # fmt: skip
def test_only_what_will_not_pass_by_itself_counts_as_a_wrong_setting(
    said: str, error: type[Exception], message: str
) -> None:
    lost = psycopg.OperationalError(f'connection failed: connection to server at "::1", port 5432 failed: {said}')
    found = start_error(lost, "at ::1:5432")
    assert type(found) is error
    assert message in str(found)


def test_a_connection_that_is_lost_while_it_logs_in_is_no_wrong_password(
    postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    with tcp_proxy(postgresql.port) as proxy:
        for messages in (1, 2, 3):
            proxy.ends_after = messages
            with pytest.raises(DatabaseUnreachableError, match="cannot be reached"):
                start(postgresql.url().replace(f":{postgresql.port}/", f":{proxy.port}/"), tmp_path)


def test_a_user_without_rights_is_told_which(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    name = postgresql.new_database()
    postgresql.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=name)
    postgresql.execute(f"CREATE ROLE visitor_{name} LOGIN PASSWORD 'p'")
    url = postgresql.url(name).replace(f"{USER}:{PASSWORD}@", f"visitor_{name}:p@")
    with closing(TaskStore(tmp_path, url)) as store, pytest.raises(DataFolderUnusableError, match="GRANT it CREATE"):
        store.open()
    postgresql.drop(name)
    postgresql.execute(f"DROP ROLE visitor_{name}")


def test_no_more_connections_are_open_than_the_documentation_says(
    queue: Queue, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, server = queue.store.database, databases.server
    assert server is not None
    monkeypatch.setattr(database._engine.pool, "_timeout", 0.01)
    with ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS - 1):
            stack.enter_context(database.reading())
        with pytest.raises(StoreBusyError):
            stack.enter_context(database.reading())
        name = make_url(str(database._engine.url)).database
        statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        assert server.execute(statement, name) == [(MOST_CONNECTIONS,)]


def test_a_server_that_is_too_old_is_refused(
    postgresql: PostgresqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgresql_checks, "OLDEST_VERSION", 1000)
    assert "It must be 1000 or newer" in str(refused(postgresql.url(), tmp_path, caplog))


def test_without_psycopg_the_start_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "optimizer.storage.postgresql")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InvalidSettingsError, match=r"pip install -r requirements-postgresql\.txt"):
        TaskStore(tmp_path, f"postgresql://{USER}@127.0.0.1/name")


def test_only_one_server_uses_a_database(queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it has another data folder, whose lock says nothing."""
    monkeypatch.setattr(dialect, "TAKE_OVER_S", 0.4)
    second = TaskStore(tmp_path)
    with pytest.raises(DatabaseInUseError) as stopped:
        second.open()
    second.close()
    assert stopped.value.exit_code == 4
    queue.submit("a")


def test_a_command_works_beside_the_server(databases: Databases, queue: Queue, tmp_path: Path) -> None:
    queue.submit("a")
    beside = TaskStore(tmp_path, databases.url_of(tmp_path))
    beside.open_beside_server()
    assert beside.ids() == {"a"}
    with beside.writing() as rows:
        rows.touch()
    beside.close()
    with reading(tmp_path, databases.url_of(tmp_path)) as connection:
        assert connection.scalar(text("SELECT count(*) FROM tasks")) == 1


@pytest.mark.parametrize(
    ("state", "error"),
    [("40001", StoreBusyError), ("40P01", StoreBusyError), ("55P03", StoreBusyError), ("57P01", StoreBusyError),
     ("53100", DiskFullError), ("53300", StoreBusyError), ("XX001", DatabaseDamagedError),
     ("42501", DatabaseDamagedError), ("42P01", StoreBusyError)],
)  # fmt: skip
def test_each_of_its_errors_is_one_of_ours(queue: Queue, state: str, error: type[Exception]) -> None:
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}'; END $$")
    with pytest.raises(error), queue.store.database.writing() as connection:
        connection.execute(raising)
    queue.submit("a")


# A server that goes away


def test_after_the_database_server_was_started_again_everything_is_there_and_goes_on(
    own_server: PostgresqlServer, tmp_path: Path
) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
        task = queue.claim("a")
        own_server.stop(signal.SIGQUIT)
        with pytest.raises(StoreBusyError, match="cannot be reached"):
            queue.submit("b")
        with pytest.raises(StoreBusyError):
            queue.manager.get("a")
        assert queue.store.problem() is not None
        own_server.start()
        assert queue.manager.get("a") == task
        assert queue.complete(task) is not None
        queue.submit("b")
        assert queue.store.problem() is None
    with running_queue(tmp_path, FakeClock()) as queue:
        assert {task.id: task.status for task in queue.manager.page(TaskFilter()).tasks} == {
            "a": TaskStatus.COMPLETED, "b": TaskStatus.PENDING,
        }  # fmt: skip


def test_a_crash_before_the_commit_takes_back_what_every_writer_in_it_changed(
    own_server: PostgresqlServer, tmp_path: Path
) -> None:
    with running_queue(tmp_path, FakeClock()) as queue:
        queue.submit("a")
        failpoints.arm({"store.before_commit": NthHit(1, lambda: own_server.stop(signal.SIGQUIT))})
        starting = threading.Timer(0.5, own_server.start)
        starting.start()
        with pytest.raises(StoreBusyError):
            queue.submit("b")
        starting.join()
        failpoints.disarm()
        assert queue.store.ids() == {"a"}
        assert queue.manager.counts()[TaskStatus.PENDING] == 1
        queue.submit("b")


class LostAnswer:
    """Makes the next commit's answer get lost: the connection breaks after the server has made it."""

    def __init__(self, queue: Queue, monkeypatch: pytest.MonkeyPatch, *, is_made: bool) -> None:
        self._commit = psycopg.Connection.commit
        self._is_made = is_made
        self._is_over = False
        monkeypatch.setattr(psycopg.Connection, "commit", lambda connection: self.commit(connection))
        self._thread = threading.get_ident()

    def commit(self, connection: psycopg.Connection[object]) -> None:
        is_ours = not self._is_over and connection.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS
        if not is_ours or not connection.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()[0]:  # type: ignore[index]
            self._commit(connection)
            return
        self._is_over = True
        if self._is_made:
            self._commit(connection)
        connection.pgconn.finish()
        raise psycopg.OperationalError("the connection is lost")


@pytest.mark.parametrize("is_made", [True, False])
def test_a_commit_whose_answer_was_lost_is_looked_up(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    queue.submit("a")
    with monkeypatch.context() as patch:
        LostAnswer(queue, patch, is_made=is_made)
        if is_made:
            task = queue.claim("a")
            assert (task.status, queue.manager.get("a")) == (TaskStatus.PROCESSING, task)
        else:
            with pytest.raises(StoreBusyError):
                queue.claim("a")
            assert queue.manager.get("a").status is TaskStatus.PENDING
    with queue.store.reading() as rows:
        assert queue.manager.counts() == rows.counts()
    queue.submit("b")


def test_a_commit_of_which_nothing_can_be_known_stops_all_writing_until_a_restart(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.submit("a")
    monkeypatch.setattr(dialect, "OUTCOME_LIMIT_S", 0.4)
    with monkeypatch.context() as patch:
        LostAnswer(queue, patch, is_made=True)
        patch.setattr(dialect.PostgresqlDialect, "_outcome", lambda *_: "in progress")
        with pytest.raises(DatabaseDamagedError, match="Restart the server"):
            queue.claim("a")
    with pytest.raises(DatabaseDamagedError, match="Restart the server"):
        queue.submit("b")
    assert "Restart the server" in (queue.store.problem() or "")


def test_a_writer_that_stays_silent_is_cut_off_so_that_others_can_write(
    queue: Queue, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process that was stopped, or whose machine is gone."""
    monkeypatch.setattr(dialect, "STILL_LIMIT_S", 1)
    silent = Database(make_url(databases.url_of(tmp_path)))
    told: Future[None] = Future()
    holds, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with silent.writing() as connection:
            connection.execute(text("UPDATE arrivals SET last_seq = 4711"))
            holds.set()
            is_over.wait(LIMIT_S)

    with ThreadPoolExecutor(1) as thread:
        told = thread.submit(hold)
        assert holds.wait(LIMIT_S)
        queue.submit("a")
        is_over.set()
        assert isinstance(told.exception(LIMIT_S), StoreBusyError)
    assert queue.manager.get("a").seq == 1
    silent.close()


def end_connection(databases: Databases, data_dir: Path) -> None:
    """That which holds the database for its server."""
    its = "locktype = 'advisory' AND objid = ? AND database = (SELECT oid FROM pg_database WHERE datname = ?)"
    name = make_url(databases.url_of(data_dir)).database
    statement = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {its}"  # noqa: S608
    assert databases.execute(data_dir, statement, hold.SERVING, name) == [(True,)]


def test_a_server_that_lost_its_hold_takes_it_again_and_stops_where_another_has_it(
    queue: Queue, databases: Databases, tmp_path: Path
) -> None:
    end_connection(databases, tmp_path)
    queue.submit("a")  # takes it again
    end_connection(databases, tmp_path)
    other = TaskStore(tmp_path, databases.url_of(tmp_path))
    other.open()
    with pytest.raises(DatabaseDamagedError, match="Another server has taken the database"):
        queue.submit("b")
    other.close()
    with pytest.raises(DatabaseDamagedError, match="restart the other"):  # its queue is not what is stored by now
        queue.submit("b")


def test_a_server_notices_that_another_one_came_and_went_while_it_had_lost_its_hold(
    queue: Queue, databases: Databases, tmp_path: Path
) -> None:
    end_connection(databases, tmp_path)
    other = TaskStore(tmp_path, databases.url_of(tmp_path))
    other.open()
    other.close()
    with pytest.raises(DatabaseDamagedError, match="Another server has taken the database"):
        queue.submit("a")


def test_new_tasks_are_taken_beside_a_full_house_of_connections(queue: Queue) -> None:
    found = at_once(*(lambda number=number: queue.manager.submit(new_task(f"t{number}")) for number in range(50)))
    assert not [error for error in found if isinstance(error, Exception)]
    assert len(queue.store.ids()) == 50
