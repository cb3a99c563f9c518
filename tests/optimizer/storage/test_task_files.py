"""A task's files: complete or not there, private, and gone when they are deleted."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from errors import DataFolderInUseError, DiskFullError, FileMissingError, StartError
from optimizer.common import failpoints
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import Upload
from tests.optimizer.faults import counted
from tests.optimizer.queue.helpers import window
from tests.optimizer.storage.helpers import ID, names
from whisper_core.audio.waveform import Waveform
from whisper_core.text.transcript import Transcript

NOW = datetime.now(UTC)
WAVEFORM = Waveform(320, bytes([0, 255]))
TRANSCRIPT = Transcript("Hello — 你好.", "en", window(0).segments, "int8")


def uploaded(files: TaskFiles, task_id: str, data: bytes = b"sound") -> Upload:
    upload = files.begin_upload(task_id)
    upload.write(data)
    upload.commit()
    upload.close()
    return upload


# Transcripts


def test_a_transcript_comes_back_as_it_was_written(files: TaskFiles) -> None:
    sha256 = files.write_transcript(ID, TRANSCRIPT)

    assert files.read_transcript(ID) == TRANSCRIPT
    assert files.read_transcript(ID, sha256) == TRANSCRIPT
    written = files.root / "transcripts" / f"{ID}.json"
    assert hashlib.sha256(written.read_bytes()).hexdigest() == sha256


def test_a_transcript_from_before_there_were_precisions_can_be_read(files: TaskFiles) -> None:
    files.write_transcript(ID, TRANSCRIPT)
    path = files.root / "transcripts" / f"{ID}.json"
    older = json.loads(path.read_bytes())
    assert older.pop("precision") == "int8"
    path.write_text(json.dumps(older))
    assert files.read_transcript(ID) == replace(TRANSCRIPT, precision=None)


def test_writing_again_replaces_a_transcript(files: TaskFiles) -> None:
    files.write_transcript(ID, TRANSCRIPT)
    later = Transcript("Other.", "en", ())
    files.write_transcript(ID, later)
    assert files.read_transcript(ID) == later


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"text": 1}', b"\xff\xfe"])
def test_a_transcript_that_is_gone_or_damaged_is_missing(files: TaskFiles, content: bytes | None) -> None:
    if content is not None:
        (files.root / "transcripts" / f"{ID}.json").write_bytes(content)
    with pytest.raises(FileMissingError):
        files.read_transcript(ID)


def test_a_transcript_that_was_altered_is_missing(files: TaskFiles) -> None:
    sha256 = files.write_transcript(ID, TRANSCRIPT)
    path = files.root / "transcripts" / f"{ID}.json"
    path.write_bytes(path.read_bytes().replace(b"Hello", b"Hallo"))
    with pytest.raises(FileMissingError):
        files.read_transcript(ID, sha256)


def test_a_full_disk_leaves_the_earlier_transcript_and_no_half_one(
    files: TaskFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_transcript(ID, TRANSCRIPT)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError):
        files.write_transcript(ID, Transcript("Other.", "en", ()))
    monkeypatch.undo()

    assert files.read_transcript(ID) == TRANSCRIPT
    assert names(files.root) == [f"transcripts/{ID}.json"]


# The folder


def test_everything_is_for_this_user_only(files: TaskFiles) -> None:
    uploaded(files, ID)
    files.write_transcript(ID, TRANSCRIPT)

    for path in files.root.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path.name


def test_links_in_the_data_folder_are_not_followed(files: TaskFiles, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_text('{"text": "secret", "language": "en", "segments": []}')
    (files.root / "incoming" / f"{ID}.part").symlink_to(outside)
    (files.root / "media" / ID).symlink_to(outside)
    (files.root / "transcripts" / f"{ID}.json").symlink_to(outside)
    (files.root / "transcripts" / f"{ID}.json.tmp").symlink_to(outside)

    with pytest.raises(FileExistsError):
        files.begin_upload(ID)
    with pytest.raises(FileMissingError):
        files.find_media(ID)
    with pytest.raises(FileMissingError):
        files.read_transcript(ID)
    files.write_transcript(ID, TRANSCRIPT)
    files.delete(ID)
    assert "secret" in outside.read_text()


def test_a_folder_that_is_a_link_stops_the_start(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (tmp_path / "media").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(StartError, match="media"):
        TaskFiles(tmp_path).acquire_lock()


@pytest.mark.parametrize("task_id", ["", ".", "..", "../a", "a/b", "a\x00b", "a b", "x" * 65, "é"])
def test_an_id_that_is_not_safe_as_a_file_name_has_no_files(files: TaskFiles, task_id: str) -> None:
    for use in (files.media_path, files.audio_path, files.find_media, files.read_transcript, files.delete):
        with pytest.raises(FileMissingError):
            use(task_id)


def test_delete_removes_every_file_of_a_task_and_no_others(files: TaskFiles) -> None:
    for task_id in (ID, "other"):
        uploaded(files, task_id)
        files.write_transcript(task_id, TRANSCRIPT)
        files.audio_path(task_id).write_bytes(b"\0\0")
        files.write_waveform(task_id, WAVEFORM)
        files.audio_path(task_id).with_name(f"{task_id}.pcm.tmp").write_bytes(b"\0")

    with files.find_media(ID).open("rb") as download:
        files.delete(ID)
        files.delete(ID)
        assert download.read() == b"sound"
    assert names(files.root) == [
        "audio/other.pcm", "audio/other.pcm.tmp", "media/other", "transcripts/other.json", "waveforms/other",
    ]  # fmt: skip
    assert files.read_waveform("other") == WAVEFORM
    files.delete_media("other")
    assert files.read_waveform("other") is None
    assert files.read_waveform(ID) is None
    with pytest.raises(FileMissingError):
        files.find_media(ID)


def test_the_sweep_clears_what_can_be_made_again_and_reports_what_cannot(files: TaskFiles) -> None:
    uploaded(files, "known")
    uploaded(files, "orphan")
    files.write_transcript("known", TRANSCRIPT)
    files.write_transcript("orphan", TRANSCRIPT)
    files.audio_path("known").write_bytes(b"\0\0")
    files.audio_path("orphan").write_bytes(b"\0\0")
    files.write_waveform("known", WAVEFORM)
    files.write_waveform("orphan", WAVEFORM)
    (files.root / "audio" / "known.pcm.tmp").write_bytes(b"\0")
    (files.root / "transcripts" / "known.json.tmp").write_bytes(b"{")
    for name, age in (("old", timedelta(hours=25)), ("young", timedelta(hours=23))):
        part = files.root / "incoming" / f"{name}.part"
        part.write_bytes(b"so")
        os.utime(part, ((NOW - age).timestamp(),) * 2)

    report = files.sweep({"known", "lost"}, NOW)

    assert report.removed == (
        "audio/known.pcm.tmp", "audio/orphan.pcm", "incoming/old.part", "transcripts/known.json.tmp",
        "waveforms/orphan",
    )  # fmt: skip
    assert report.media_without_row == ("orphan",)
    assert report.rows_without_media == ("lost",)
    assert report.transcripts_without_row == ("orphan",)
    assert names(files.root) == [
        "audio/known.pcm", "incoming/young.part", "media/known", "media/orphan", "transcripts/known.json",
        "transcripts/orphan.json", "waveforms/known",
    ]  # fmt: skip


# The lock


def test_a_second_server_is_told_who_has_the_data_folder(files: TaskFiles) -> None:
    with pytest.raises(DataFolderInUseError, match=rf"data dir in use by pid {os.getpid()}") as refused:
        TaskFiles(files.root).acquire_lock()
    assert refused.value.exit_code == 4
    files.release_lock()
    other = TaskFiles(files.root)
    other.acquire_lock()
    other.release_lock()
    other.release_lock()


def test_the_lock_of_a_killed_server_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from optimizer.storage.task_files import TaskFiles\n"
        "files = TaskFiles(Path(sys.argv[1])); files.acquire_lock()\n"
        "print('locked', flush=True); sys.stdin.read()\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).parents[3], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "locked\n"
        with pytest.raises(DataFolderInUseError, match=f"pid {server.pid}"):
            TaskFiles(tmp_path).acquire_lock()
        server.kill()
        server.wait(timeout=10)

    files = TaskFiles(tmp_path)
    files.acquire_lock()
    files.release_lock()


def test_a_child_process_does_not_keep_the_lock(files: TaskFiles) -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        files.release_lock()
        other = TaskFiles(files.root)
        other.acquire_lock()
        other.release_lock()
        assert child.poll() is None
        child.kill()


def test_several_results_are_written_with_one_wait_for_the_folder(files: TaskFiles) -> None:
    names = ["a", "b", "c"]
    with counted("transcript.before_folder_sync") as waits:
        sha256s = files.write_transcripts({name: Transcript(name, "en", ()) for name in names})
    assert len(waits) == 1
    assert [files.read_transcript(name, sha256s[name]).text for name in names] == names


def test_a_result_whose_files_were_deleted_as_it_was_written_is_left_out(files: TaskFiles) -> None:
    failpoints.arm({"transcript.before_rename": lambda: files.delete("a")})
    try:
        written = files.write_transcripts({"a": TRANSCRIPT, "b": TRANSCRIPT})
    finally:
        failpoints.disarm()
    assert set(written) == {"b"}
    assert {path.name for path in (files.root / "transcripts").iterdir()} == {"b.json"}
