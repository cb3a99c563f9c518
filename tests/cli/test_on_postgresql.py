"""Commands on a data folder whose database is PostgreSQL's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.program import run
from config import Settings
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from tests.databases import Databases, used_of
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import running_queue
from tests.postgresql_server import PASSWORD, PostgresqlServer

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def databases(postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Databases]:
    with used_of(postgresql, monkeypatch) as databases:
        yield databases


@pytest.fixture
def settings(make_settings: Callable[..., Settings], databases: Databases, tmp_path: Path) -> Settings:
    """A task that waits, with its recording."""
    settings = make_settings(database_url=SecretStr(databases.url_of(tmp_path / "data")))
    files = TaskFiles(settings.data_dir)
    files.make_folders()
    with running_queue(settings.data_dir, FakeClock()) as queue, files.begin_upload("waits") as upload:
        upload.write(b"sound")
        upload.commit()
        queue.submit("waits", sha256=upload.sha256, size_bytes=upload.size, filename="fox.wav")
    return settings


@pytest.fixture
def command(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Command:
    def run_command(*arguments: str) -> tuple[int, str]:
        code = run(list(arguments), serve=lambda: 99, load=lambda: settings)
        printed = capsys.readouterr()
        assert PASSWORD not in printed.out + printed.err
        return code, printed.out + printed.err

    return run_command


def test_doctor_compares_rows_files_and_index_and_repairs_what_it_can(
    command: Command, settings: Settings, databases: Databases
) -> None:
    pg_amcheck = "Damage in PostgreSQL's own files is looked for by its pg_amcheck.\n"
    assert command("doctor") == (0, f"Nothing found.\n{pg_amcheck}")
    databases.execute(settings.data_dir, "UPDATE search_index SET terms = ts_delete(terms, 'fox')")
    (settings.data_dir / "media" / "stray").write_bytes(b"")
    found = "search_index: it does not have the words of the texts\nmedia/stray: a recording that no task has\n"
    assert command("doctor") == (1, f"{found}2 found.\n{pg_amcheck}")
    code, printed = command("doctor", "--repair")
    assert (code, "2 repaired, 0 left." in printed) == (0, True)
    assert command("doctor") == (0, f"Nothing found.\n{pg_amcheck}")


def test_backup_says_what_to_use_instead(command: Command, tmp_path: Path) -> None:
    code, printed = command("backup", str(tmp_path / "backup.tar"))
    assert (code, "back it up with pg_dump" in printed) == (1, True)
    assert not (tmp_path / "backup.tar").exists()


def test_dump_and_files_come_back_as_the_document_says(
    settings: Settings, databases: Databases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, restored = databases.server, tmp_path / "restored"
    assert server is not None
    dump, name = server.folder / "tasks.dump", server.new_database()
    server.run("pg_dump", "--format=custom", f"--file={dump}", databases.url_of(settings.data_dir))
    server.run("pg_restore", f"--dbname={server.url(name)}", str(dump))
    dump.unlink()
    shutil.copytree(settings.data_dir / "media", restored / "media")
    databases.use(restored, name)
    there = settings.model_copy(update={"data_dir": restored, "database_url": SecretStr(databases.url_of(restored))})
    assert run(["doctor", "--repair"], serve=lambda: 99, load=lambda: there) == 0
    assert "Nothing found." in capsys.readouterr().out
    with running_queue(restored, FakeClock()) as queue:
        assert queue.manager.get("waits").filename == "fox.wav"


def test_keys_are_made_beside_a_server(command: Command, settings: Settings) -> None:
    store = TaskStore(settings.data_dir)
    store.open()
    assert command("keys", "add", "alice")[0] == 0
    assert "alice" in command("keys", "list")[1]
    store.close()


def test_a_database_that_is_moved_already_is_not_moved_again(command: Command) -> None:
    code, printed = command("migrate-to", "postgresql://me@127.0.0.1/other")
    assert (code, "names PostgreSQL already" in printed) == (1, True)
