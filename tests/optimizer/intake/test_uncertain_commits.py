"""A recording whose task was stored or not, nobody knows: PostgreSQL went away during the commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from errors import CommitUncertainError, DatabaseDamagedError
from optimizer.intake.task_intake import SubmissionRequest
from optimizer.storage import postgresql as dialect
from optimizer.storage.task_files import SweepReport, TaskFiles
from optimizer.storage.upload_file import Upload
from optimizer.tasks.task import Priority, TaskOptions
from tests.databases import Databases, used_of
from tests.optimizer.fakes import FakeClock
from tests.optimizer.intake.test_task_intake import FakeDecodePool, Intake
from tests.optimizer.queue.helpers import running_queue
from tests.optimizer.storage.test_postgresql import LostAnswer
from tests.postgresql_server import PostgresqlServer

SOUND = b"sound"
REQUEST = SubmissionRequest("a.mp3", TaskOptions(model="base"), Priority.NORMAL, "auto")


@pytest.fixture
def databases(postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Databases]:
    with used_of(postgresql, monkeypatch) as databases:
        yield databases


@pytest.fixture
def files(tmp_path: Path) -> Iterator[TaskFiles]:
    files = TaskFiles(tmp_path)
    files.acquire_lock()
    yield files
    files.release_lock()


def start_again(files: TaskFiles) -> tuple[set[str], SweepReport]:
    """The tasks that the next server finds, and what it does about files."""
    with running_queue(files.root, clock := FakeClock()) as queue:
        known = queue.store.ids()
        return known, files.sweep(known, clock.now())


@pytest.mark.parametrize("is_made", [True, False], ids=["stored", "not stored"])
def test_a_recording_whose_task_may_have_been_stored_is_kept_until_the_next_start_knows(
    databases: Databases, files: TaskFiles, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    monkeypatch.setattr(dialect, "OUTCOME_LIMIT_S", 0.4)
    with running_queue(files.root, FakeClock()) as queue:
        intake = Intake(queue, files, FakeDecodePool())
        upload = intake.upload("a", SOUND)
        with monkeypatch.context() as patch:
            LostAnswer(queue, patch, is_made=is_made)
            patch.setattr(dialect.PostgresqlDialect, "_outcome", lambda *_: "in progress")
            with pytest.raises(CommitUncertainError):
                intake.intake.accept(upload, REQUEST)
        upload.discard()  # as who received it does after an error
        assert files.media_path("a").read_bytes() == SOUND
        with pytest.raises(DatabaseDamagedError, match="Restart the server"):
            intake.accept("b")
        assert not files.media_path("b").exists()  # of that one it is known
    known, swept = start_again(files)
    if is_made:
        assert (known, swept.rows_without_media) == ({"a"}, ())
        assert files.find_media("a").read_bytes() == SOUND
    else:
        assert (known, swept.media_without_row) == (set(), ())
        assert not files.media_path("a").exists()
    assert list((files.root / "incoming").iterdir()) == []


def test_a_recording_that_cannot_be_marked_is_kept_all_the_same(
    databases: Databases, files: TaskFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: the next start tells of it."""

    def refuse(*_: object, **__: object) -> None:
        raise CommitUncertainError(dialect.UNCERTAIN)

    with running_queue(files.root, FakeClock()) as queue:
        intake = Intake(queue, files, FakeDecodePool())
        upload: Upload = intake.upload("a", SOUND)
        monkeypatch.setattr(queue.manager, "submit", refuse)
        (files.root / "incoming" / "a.doubt").mkdir()
        with pytest.raises(CommitUncertainError):
            intake.intake.accept(upload, REQUEST)
        upload.discard()
        (files.root / "incoming" / "a.doubt").rmdir()
    assert start_again(files)[1].media_without_row == ("a",)
