"""`python main.py backup` and `restore`: everything comes back, and nothing but that."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from cli.program import run
from config import Settings
from optimizer.common import failpoints
from optimizer.storage.sqlite import copy_sqlite_file
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import running_queue, window
from whisper_core.text.transcript import Transcript

TRANSCRIPT = Transcript("Hello.", "en", window(0).segments)
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def filled(make_settings: Callable[..., Settings]) -> Settings:
    """A data folder with a completed task, one that ran and one that waits."""
    settings = make_settings()
    files = TaskFiles(settings.data_dir)
    files.make_folders()
    with running_queue(settings.data_dir, FakeClock()) as queue:
        for task_id in ("done", "ran", "waits"):
            with files.begin_upload(task_id) as upload:
                upload.write(task_id.encode() * 100)
                upload.commit()
            queue.submit(task_id, sha256=upload.sha256, size_bytes=upload.size)
        task = queue.claim("done")
        sha256 = files.write_transcript("done", TRANSCRIPT)
        queue.complete(task)
        running = queue.claim("ran")
        queue.manager.save_window("ran", running.lease_token or "", window(0))
    with closing(sqlite3.connect(settings.data_dir / "tasks.db")) as connection:
        connection.execute("UPDATE tasks SET result_sha256 = ? WHERE id = 'done'", (sha256,))
        for task_id in ("done", "waits"):  # the latter cannot be, but is the one that tests delete
            step = (task_id, 1, "alice", "2026-11-29T12:00:00+00:00", "shift", '{"seconds": 1}')
            connection.execute("INSERT INTO transcript_edits VALUES (?, ?, ?, ?, ?, ?)", step)
            connection.execute("INSERT INTO edited_transcripts VALUES (?, 1, '{}', 14)", (task_id,))
            connection.execute("INSERT INTO task_tags VALUES (?, 'radio', 'Radio')", (task_id,))
            connection.execute("INSERT INTO shares VALUES (?, ?, ?, '', NULL, 0)", (task_id,) * 3)
            connection.execute("INSERT INTO webhook_callbacks VALUES (?, 'https://a.example')", (task_id,))
            watched = (task_id, task_id, json.dumps({"path": task_id}))
            connection.execute("INSERT INTO watched_files VALUES (?, 1, 1, '', 'waiting', ?, ?, '{}')", watched)
        connection.commit()
    return settings


@pytest.fixture
def command(filled: Settings, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs one on a data folder, by default the filled one; gives its exit code and what it printed."""

    def run_command(*arguments: str, data_dir: Path | None = None) -> tuple[int, str]:
        settings = filled if data_dir is None else filled.model_copy(update={"data_dir": data_dir})
        code = run(list(arguments), serve=lambda: 99, load=lambda: settings)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run_command


def members(backup: Path) -> list[str]:
    with tarfile.open(backup) as tar:
        return sorted(tar.getnames())


KEPT_OF = ("transcript_edits", "edited_transcripts", "task_tags", "shares", "webhook_callbacks")


def kept_in(data_dir: Path, table: str) -> set[str]:
    """The tasks that have rows there."""
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        rows = connection.execute(f"SELECT task_id FROM {table} WHERE task_id IS NOT NULL")  # noqa: S608
        return {task_id for (task_id,) in rows}


def test_everything_comes_back_in_an_empty_folder(command: Command, tmp_path: Path) -> None:
    backup, restored = tmp_path / "backup.tar", tmp_path / "restored"
    assert command("backup", str(backup)) == (
        0, f"Wrote {backup}: 3 tasks, 1 transcripts, 3 recordings.\n"
    )  # fmt: skip
    assert backup.stat().st_mode & 0o777 == 0o600
    assert members(backup) == [
        "manifest.json", "media/done", "media/ran", "media/waits", "tasks.db", "transcripts/done.json",
    ]  # fmt: skip
    assert command("restore", str(backup), data_dir=restored) == (
        0, "Restored 3 tasks, 1 transcripts, 3 recordings.\n"
    )  # fmt: skip
    assert command("doctor", "--checksums", data_dir=restored) == (0, "Nothing found.\n")
    with running_queue(restored, FakeClock()) as queue:
        assert queue.report.interrupted == ()
        tasks = {task_id: queue.manager.get(task_id) for task_id in ("done", "ran", "waits")}
        assert [task.status for task in tasks.values()] == [
            TaskStatus.COMPLETED, TaskStatus.PENDING, TaskStatus.PENDING,
        ]  # fmt: skip
        assert queue.manager.windows("ran") == [window(0)]
        assert TaskFiles(restored).read_transcript("done", tasks["done"].result_sha256) == TRANSCRIPT
    for table in (*KEPT_OF, "watched_files"):
        assert kept_in(restored, table) == {"done", "waits"}
    private = {path.stat().st_mode & 0o777 for path in restored.rglob("*")}
    assert private == {0o600, 0o700}


def test_a_backup_without_recordings_is_small(command: Command, tmp_path: Path) -> None:
    backup = tmp_path / "backup.tar"
    assert command("backup", str(backup), "--without-media")[0] == 0
    assert members(backup) == ["manifest.json", "tasks.db", "transcripts/done.json"]
    assert command("restore", str(backup), data_dir=tmp_path / "restored") == (
        0, "Restored 3 tasks, 1 transcripts, no recordings.\n"
    )  # fmt: skip


def test_a_task_that_is_deleted_meanwhile_is_not_in_the_backup(
    command: Command, filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the copy of the database was made, and before its files were read."""

    def copy_then_delete(source: Path, destination: Path) -> None:
        copy_sqlite_file(source, destination)
        TaskFiles(filled.data_dir).delete("waits")
        with closing(sqlite3.connect(filled.data_dir / "tasks.db")) as connection:
            connection.execute("DELETE FROM tasks WHERE id = 'waits'")
            connection.commit()

    monkeypatch.setattr("optimizer.storage.backup.copy_sqlite_file", copy_then_delete)
    assert command("backup", str(tmp_path / "backup.tar"))[0] == 0
    assert command("restore", str(tmp_path / "backup.tar"), data_dir=tmp_path / "restored")[0] == 0
    assert command("doctor", data_dir=tmp_path / "restored") == (0, "Nothing found.\n")
    with running_queue(tmp_path / "restored", FakeClock()) as queue:
        assert queue.store.ids() == {"done", "ran"}
    for table in (*KEPT_OF, "watched_files"):
        assert kept_in(tmp_path / "restored", table) == {"done"}


def test_a_task_whose_files_are_gone_and_whose_row_goes_next_is_not_in_the_backup(
    command: Command, filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TaskFiles(filled.data_dir).delete("done")

    def delete_the_row(_seconds: float) -> None:
        with closing(sqlite3.connect(filled.data_dir / "tasks.db")) as connection:
            connection.execute("DELETE FROM tasks WHERE id = 'done'")
            connection.commit()

    monkeypatch.setattr("optimizer.storage.backup.time.sleep", delete_the_row)
    backup = tmp_path / "backup.tar"
    assert command("backup", str(backup)) == (
        0, f"Wrote {backup}: 2 tasks, 0 transcripts, 2 recordings.\n"
    )  # fmt: skip


def test_a_task_that_lost_its_recording_long_ago_is_backed_up_without_it(
    command: Command, filled: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TaskFiles(filled.data_dir).media_path("done").unlink()
    monkeypatch.setattr("optimizer.storage.backup._MOST_LOOKS", 1)
    backup = tmp_path / "backup.tar"
    assert command("backup", str(backup)) == (
        0, f"Wrote {backup}: 3 tasks, 1 transcripts, 2 recordings.\n"
    )  # fmt: skip


def test_a_folder_that_is_not_empty_is_left_alone(command: Command, filled: Settings, tmp_path: Path) -> None:
    backup = tmp_path / "backup.tar"
    command("backup", str(backup))
    before = (filled.data_dir / "tasks.db").read_bytes()
    code, told = command("restore", str(backup))
    assert (code, "not empty" in told) == (1, True)
    assert (filled.data_dir / "tasks.db").read_bytes() == before


def test_a_backup_is_never_replaced(command: Command, tmp_path: Path) -> None:
    (tmp_path / "backup.tar").write_bytes(b"precious")
    code, told = command("backup", str(tmp_path / "backup.tar"))
    assert (code, told) == (1, "backup.tar is there already.\n")
    assert (tmp_path / "backup.tar").read_bytes() == b"precious"


@pytest.mark.parametrize("damage", ["cut", "altered", "text", "stranger"])
def test_a_damaged_backup_restores_nothing(command: Command, tmp_path: Path, damage: str) -> None:
    backup, restored = tmp_path / "backup.tar", tmp_path / "restored"
    command("backup", str(backup))
    content = backup.read_bytes()
    match damage:
        case "cut":
            backup.write_bytes(content[: len(content) // 2])
        case "altered":
            backup.write_bytes(content.replace(b"waitswaits", b"waitsWAITS", 1))
        case "text":
            backup.write_bytes(b"these are words\n" * 1000)
        case "stranger":
            with tarfile.open(backup, "w") as tar:
                tar.addfile(tarfile.TarInfo("../../outside"), io.BytesIO())
    code, told = command("restore", str(backup), data_dir=restored)
    assert (code, "Traceback" in told) == (1, False), told
    assert [path.name for path in restored.rglob("*") if path.is_file()] == ["lock"]
    assert not (tmp_path / "outside").exists()


def test_a_crash_while_it_is_made_leaves_no_half_backup(command: Command, tmp_path: Path) -> None:
    class PowerCutError(Exception):
        pass

    def cut() -> None:
        raise PowerCutError

    failpoints.arm({"backup.before_rename": cut})
    try:
        with suppress(PowerCutError):
            command("backup", str(tmp_path / "backup.tar"))
    finally:
        failpoints.disarm()
    assert list(tmp_path.glob("backup*")) == []
    assert command("backup", str(tmp_path / "backup.tar"))[0] == 0


@pytest.mark.parametrize("step", ["restore.before_file", "restore.before_rename"])
def test_a_failure_while_it_is_restored_leaves_the_folder_empty(command: Command, tmp_path: Path, step: str) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    command("backup", str(tmp_path / "backup.tar"))
    failpoints.arm({step: fail})
    try:
        code, told = command("restore", str(tmp_path / "backup.tar"), data_dir=tmp_path / "restored")
    finally:
        failpoints.disarm()
    assert (code, told) == (1, "The backup cannot be restored: Input/output error.\n")
    assert [path.name for path in (tmp_path / "restored").rglob("*") if path.is_file()] == ["lock"]
    assert command("restore", str(tmp_path / "backup.tar"), data_dir=tmp_path / "restored")[0] == 0


def test_the_manifest_says_what_the_backup_is(command: Command, tmp_path: Path) -> None:
    command("backup", str(tmp_path / "backup.tar"))
    with tarfile.open(tmp_path / "backup.tar") as tar:
        content = tar.extractfile("manifest.json")
        assert content is not None
        manifest = json.load(content)
    assert (manifest["format"], manifest["has_media"], len(manifest["sha256"])) == (1, True, 5)
