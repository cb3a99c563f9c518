"""Writers that come at the same time share a commit; each keeps what is its own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from errors import StoreBusyError, TranscriptionServerError
from optimizer.storage.database import Database, database_url
from tests.databases import Databases

LIMIT_S = 30


class Notes:
    """A table of one column, and how often something was committed."""

    def __init__(self, folder: Path, databases: Databases) -> None:
        self._folder = folder
        self._databases = databases
        self.database = Database(database_url(databases.url_of(folder), folder))
        self.commits = 0
        with self.database.writing() as connection:
            connection.execute(text("CREATE TABLE notes (word TEXT UNIQUE)"))
        event.listen(self.database._engine, "commit", self._count)

    def write(self, word: str) -> None:
        with self.database.writing() as connection:
            insert(connection, word)

    def words(self) -> set[str]:
        """As another program sees them: what is committed."""
        return {word for (word,) in self._databases.execute(self._folder, "SELECT word FROM notes")}

    def locked(self) -> AbstractContextManager[None]:
        """Another program writes for as long as the block lasts."""
        return self._databases.locked(self._folder)

    def _count(self, _: Connection) -> None:
        self.commits += 1


@pytest.fixture
def notes(tmp_path: Path, each_database: Databases) -> Iterator[Notes]:
    made = Notes(tmp_path, each_database)
    yield made
    made.database.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as threads:
        yield threads


def insert(connection: Connection, word: str) -> None:
    connection.execute(text("INSERT INTO notes VALUES (:word)"), {"word": word})


def behind(
    notes: Notes, pool: ThreadPoolExecutor, *works: Callable[[], None], futures: list[Future[None]] | None = None
) -> list[Future[None]]:
    """Starts the works, in their order, while somebody else's turn lasts, and ends that turn once all of them wait.

    futures: filled with theirs, for when that turn's commit fails.
    """
    turns = notes.database._turns
    futures = [] if futures is None else futures
    with notes.database.writing() as connection:
        for number, work in enumerate(works, start=1):
            futures.append(pool.submit(work))
            wait_until(lambda number=number: len(turns._waiting) == number)  # type: ignore[misc]
        insert(connection, "first")
    return futures


def wait_until(is_true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(LIMIT_S * 1000):
        if is_true():
            return
        pause.wait(0.001)
    raise AssertionError("waited in vain")


def test_a_writer_that_waits_for_nobody_commits_at_once(notes: Notes) -> None:
    notes.write("a")
    assert notes.words() == {"a"}
    assert notes.commits == 1


def test_writers_that_waited_together_share_one_commit(notes: Notes, pool: ThreadPoolExecutor) -> None:
    names = [f"w{number}" for number in range(20)]
    for future in behind(notes, pool, *(lambda name=name: notes.write(name) for name in names)):
        future.result(LIMIT_S)
    assert notes.words() == {"first", *names}
    assert notes.commits == 1


def test_what_a_writer_wrote_is_there_when_it_returns(notes: Notes, pool: ThreadPoolExecutor) -> None:
    def write_and_look(name: str) -> None:
        notes.write(name)
        assert name in notes.words()

    for future in [pool.submit(write_and_look, f"w{number}") for number in range(200)]:
        future.result(LIMIT_S)
    assert len(notes.words()) == 200
    assert notes.commits <= 200


def test_a_writer_that_fails_takes_back_its_own_changes_only(notes: Notes, pool: ThreadPoolExecutor) -> None:
    def fail() -> None:
        with notes.database.writing() as connection:
            insert(connection, "half")
            raise KeyError("on purpose")

    futures = behind(notes, pool, lambda: notes.write("a"), fail, lambda: notes.write("b"))
    assert isinstance(futures[1].exception(LIMIT_S), KeyError)
    futures[0].result(LIMIT_S)
    futures[2].result(LIMIT_S)
    assert notes.words() == {"first", "a", "b"}


def test_a_commit_that_fails_fails_for_every_writer_in_it(notes: Notes, pool: ThreadPoolExecutor) -> None:
    def refuse(_: Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    futures: list[Future[None]] = []
    event.listen(notes.database._engine, "commit", refuse)
    with pytest.raises(TranscriptionServerError):
        behind(notes, pool, lambda: notes.write("a"), lambda: notes.write("b"), futures=futures)
    assert all(isinstance(future.exception(LIMIT_S), TranscriptionServerError) for future in futures)
    event.remove(notes.database._engine, "commit", refuse)
    assert notes.words() == set()
    notes.write("afterwards")
    assert notes.words() == {"afterwards"}


def test_when_the_database_gives_a_transaction_up_all_who_share_it_are_told(
    notes: Notes, pool: ThreadPoolExecutor
) -> None:
    """As SQLite does when the disk is full."""

    def lose_everything() -> None:
        with notes.database.writing() as connection:
            connection.exec_driver_sql("ROLLBACK")
            raise KeyError("on purpose")

    futures: list[Future[None]] = []
    with pytest.raises(StoreBusyError):
        behind(notes, pool, lambda: notes.write("a"), lose_everything, lambda: notes.write("b"), futures=futures)
    assert isinstance(futures[0].exception(LIMIT_S), StoreBusyError)
    assert isinstance(futures[1].exception(LIMIT_S), KeyError)
    futures[2].result(LIMIT_S)
    assert notes.words() == {"b"}


def test_when_another_program_holds_the_lock_all_who_wait_are_refused_together(
    notes: Notes, pool: ThreadPoolExecutor
) -> None:
    with notes.locked():
        futures = [pool.submit(notes.write, f"w{number}") for number in range(20)]
        errors = [future.exception(LIMIT_S) for future in futures]
    assert [type(error) for error in errors] == [StoreBusyError] * 20
    notes.write("afterwards")
    assert notes.words() == {"afterwards"}


def test_a_writer_that_gives_up_waiting_leaves_the_line(notes: Notes, pool: ThreadPoolExecutor) -> None:
    notes.database._turns._wait_ms = 10
    with notes.database.writing() as connection:
        late = pool.submit(notes.write, "late")
        assert isinstance(late.exception(LIMIT_S), StoreBusyError)
        insert(connection, "first")
    assert notes.words() == {"first"}
    notes.write("next")
    assert notes.words() == {"first", "next"}


def test_nobody_writes_while_somebody_is_alone(notes: Notes, pool: ThreadPoolExecutor) -> None:
    turns = notes.database._turns
    with turns.alone(0) as is_alone:
        assert is_alone
        late = pool.submit(notes.write, "late")
        wait_until(lambda: len(turns._waiting) == 1)
        assert notes.words() == set()
    late.result(LIMIT_S)
    with notes.database.writing() as connection:
        insert(connection, "first")
        with turns.alone(0) as is_alone:
            assert not is_alone


def test_who_wants_to_be_alone_waits_for_the_commit(notes: Notes, pool: ThreadPoolExecutor) -> None:
    def look() -> None:
        with notes.database._turns.alone(LIMIT_S * 1000) as is_alone:
            assert is_alone
            assert notes.words() == {"first", "a"}

    for future in behind(notes, pool, lambda: notes.write("a"), look, lambda: notes.write("b")):
        future.result(LIMIT_S)
    assert notes.words() == {"first", "a", "b"}
