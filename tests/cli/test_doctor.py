"""`python main.py doctor`: what it finds, what it puts right, and what it leaves to a person."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.program import run
from config import Settings
from optimizer.storage.inspection import Fault
from optimizer.storage.task_files import TaskFiles
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue, window
from whisper_core.text.transcript import Transcript

SOUND = b"sound"
TRANSCRIPT = Transcript("Hello.", "en", window(0).segments)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def doctor(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Runs the command; gives its exit code and what it printed."""

    def run_doctor(*arguments: str) -> tuple[int, list[str]]:
        code = run(["doctor", *arguments], serve=lambda: 99, load=lambda: settings)
        printed = capsys.readouterr()
        return code, (printed.out + printed.err).splitlines()

    return run_doctor


@pytest.fixture
def files(settings: Settings) -> TaskFiles:
    """Of a data folder with a completed task `done` and a waiting one `waits`."""
    files = TaskFiles(settings.data_dir)
    files.make_folders()
    with running_queue(settings.data_dir, FakeClock()) as queue:
        for task_id in ("done", "waits"):
            add_task(files, queue, task_id)
        task = queue.claim("done")
        sha256 = files.write_transcript("done", TRANSCRIPT)
        edit(settings.data_dir, "UPDATE tasks SET status = 'completed', lease_token = NULL WHERE id = ?", task.id)
        edit(settings.data_dir, "UPDATE tasks SET result_sha256 = ? WHERE id = ?", sha256, task.id)
    return files


def add_task(files: TaskFiles, queue: Queue, task_id: str) -> None:
    with files.begin_upload(task_id) as upload:
        upload.write(SOUND)
        upload.commit()
    queue.submit(task_id, sha256=upload.sha256, size_bytes=len(SOUND))


def edit(data_dir: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        connection.execute(statement, values)
        connection.commit()


Doctor = Callable[..., tuple[int, list[str]]]


def test_a_folder_in_order_is_clean(doctor: Doctor, files: TaskFiles) -> None:
    before = {path: path.stat().st_mtime_ns for path in files.root.rglob("*") if "-wal" not in path.name}
    assert doctor() == (0, ["Nothing found."])
    assert doctor("--checksums") == (0, ["Nothing found."])
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path.name: after[path] for path in after if path.is_file() and "-shm" not in path.name} == {
        path.name: before[path] for path in before if path.is_file() and "-shm" not in path.name
    }
    assert doctor("--repair") == (0, ["Nothing found."])


def test_every_disagreement_is_found_and_only_what_is_safe_is_repaired(doctor: Doctor, files: TaskFiles) -> None:
    root = files.root
    (root / "media" / "done").unlink()
    (root / "media" / "waits").write_bytes(b"other sound")
    text = files.transcript_path("done")
    text.write_bytes(text.read_bytes() + b" ")
    (root / "media" / "nobody").write_bytes(b"somebody's only copy")
    (root / "transcripts" / "nobody.json").write_bytes(b"{}")
    (root / "audio" / "nobody.pcm").write_bytes(b"\0\0")
    (root / "waveforms" / "nobody").write_bytes(b"\0\0")
    (root / "audio" / "waits.pcm.tmp").write_bytes(b"\0\0")
    (root / "media" / "linked").symlink_to("/etc/hostname")
    old = (datetime.now(UTC) - timedelta(hours=25)).timestamp()
    for name in ("old.part", "old.json", "young.part"):
        part = root / "incoming" / name
        part.write_bytes(b"so")
        if "old" in name:
            os.utime(part, (old, old))
    edit(root, "INSERT INTO windows VALUES ('nobody', 0, '[]', '{}')")
    edit(root, "INSERT INTO transcript_edits VALUES ('nobody', 1, '', '2026-11-29T12:00:00+00:00', 'undo', '{}')")
    edit(root, "INSERT INTO edited_transcripts VALUES ('nobody', 1, '{}', 2)")
    edit(root, "INSERT INTO webhook_callbacks VALUES ('nobody', 'https://a.example')")
    edit(root, "INSERT INTO transcript_edits VALUES ('done', 1, '', '2026-11-29T12:00:00+00:00', 'shift', '{')")
    edit(root, "UPDATE tasks SET errors = 'unreadable' WHERE id = 'waits'")
    expected = {
        f"done: {Fault.RECORDING_MISSING.value}", f"done: {Fault.TRANSCRIPT_ALTERED.value}",
        f"waits: {Fault.ROW_UNREADABLE.value}", f"windows: {Fault.ROWS_WITHOUT_TASK.value}",
        f"done: {Fault.EDITS_UNREADABLE.value}", f"transcript_edits: {Fault.ROWS_WITHOUT_TASK.value}",
        f"edited_transcripts: {Fault.ROWS_WITHOUT_TASK.value}",
        f"webhook_callbacks: {Fault.ROWS_WITHOUT_TASK.value}",
        f"media/nobody: {Fault.RECORDING_WITHOUT_TASK.value}", f"media/linked: {Fault.NOT_A_FILE.value}",
        f"transcripts/nobody.json: {Fault.TRANSCRIPT_WITHOUT_TASK.value}",
        f"audio/nobody.pcm: {Fault.SAMPLES_WITHOUT_TASK.value}", f"audio/waits.pcm.tmp: {Fault.LEFTOVER.value}",
        f"waveforms/nobody: {Fault.WAVEFORM_WITHOUT_TASK.value}",
        f"incoming/old.part: {Fault.UPLOAD_EXPIRED.value}", f"incoming/old.json: {Fault.UPLOAD_EXPIRED.value}",
    }  # fmt: skip

    code, told = doctor()
    assert (code, set(told[:-1]), told[-1]) == (1, expected, "16 found.")

    code, told = doctor("--repair")
    assert (code, told[-1]) == (1, "11 repaired, 5 left.")
    assert (root / "lost+found" / "media" / "nobody").read_bytes() == b"somebody's only copy"
    assert (root / "lost+found" / "transcripts" / "nobody.json").read_bytes() == b"{}"
    assert (root / "incoming" / "young.part").exists()

    code, told = doctor()
    assert (code, set(told[:-1])) == (
        1,
        {line for line in expected if line.startswith(("done", "waits:", "media/linked"))},
    )


def test_an_altered_recording_of_the_same_size_is_found_by_its_checksum(doctor: Doctor, files: TaskFiles) -> None:
    (files.root / "media" / "waits").write_bytes(SOUND[::-1])
    assert doctor()[0] == 0
    assert doctor("--checksums") == (1, [f"waits: {Fault.RECORDING_ALTERED.value}", "1 found."])


def test_a_second_find_of_one_name_does_not_replace_the_first(doctor: Doctor, files: TaskFiles) -> None:
    for content in (b"first", b"second"):
        (files.root / "media" / "nobody").write_bytes(content)
        assert doctor("--repair")[0] == 0
    kept = files.root / "lost+found" / "media"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {"nobody": b"first", "nobody.2": b"second"}


def test_beside_a_server_it_reports_and_does_not_repair(doctor: Doctor, files: TaskFiles) -> None:
    server = TaskFiles(files.root)
    server.acquire_lock()
    try:
        (files.root / "media" / "arriving").write_bytes(b"its row is on its way")
        assert doctor() == (0, ["Nothing found."])
        code, told = doctor("--repair")
        assert (code, told) == (
            4,
            [f"data dir in use by pid {os.getpid()}: stop that server first, or set another DATA_DIR."],
        )
    finally:
        server.release_lock()


def test_without_a_database_it_says_so(doctor: Doctor) -> None:
    assert doctor() == (3, ["There is no tasks.db."])


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO search_index (rowid, words) VALUES (1, 'extra')",
        "INSERT INTO search_index (rowid, words) VALUES (99, 'extra')",
        "INSERT INTO search_index (search_index, rowid, words) VALUES ('delete', 1, 'mp3')",
        "UPDATE task_texts SET folded_text = ' other words ' WHERE task_id = 'done'",
        "DELETE FROM search_index_data WHERE id > 10",
        "DROP TABLE search_index",
    ],
)
def test_an_index_of_the_search_that_disagrees_is_made_anew(
    doctor: Doctor, settings: Settings, files: TaskFiles, damage: str
) -> None:
    edit(settings.data_dir, damage)
    assert doctor() == (1, ["search_index: it does not have the words of the texts", "1 found."])
    assert doctor("--repair")[1][-1] in ("1 repaired, 0 left.", "Nothing found.")  # a start alone repairs some of it
    assert doctor() == (0, ["Nothing found."])
