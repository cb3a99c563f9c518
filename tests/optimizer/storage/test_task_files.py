"""A task's files: complete or not there, private, and gone when they are deleted."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from werkzeug.formparser import FormDataParser
from werkzeug.test import EnvironBuilder

from errors import (
    DataFolderInUseError,
    DiskFullError,
    FileMissingError,
    FileTooLargeError,
    StartError,
)
from optimizer.common import failpoints
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import Upload
from tests.optimizer.queue.helpers import window
from whisper_core.text.transcript import Transcript

ID = "01JDG3VJ5K7M8N9P0QRSTVWXYZ"
NOW = datetime.now(UTC)
TRANSCRIPT = Transcript("Hello — 你好.", "en", window(0).segments)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[TaskFiles]:
    files = TaskFiles(tmp_path)
    files.acquire_lock()
    yield files
    files.release_lock()
    failpoints.disarm()


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "lock")


def uploaded(files: TaskFiles, task_id: str, data: bytes = b"sound") -> Upload:
    upload = files.begin_upload(task_id)
    upload.write(data)
    upload.commit()
    upload.close()
    return upload


# Uploads


def test_an_upload_is_hashed_counted_and_there_only_after_commit(files: TaskFiles) -> None:
    with files.begin_upload(ID) as upload:
        upload.write(b"so")
        upload.write(memoryview(b"und"))
        assert names(files.root) == [f"incoming/{ID}.part"]
        upload.commit()

    assert names(files.root) == [f"media/{ID}"]
    assert files.find_media(ID).read_bytes() == b"sound"
    assert (upload.size, upload.sha256) == (5, hashlib.sha256(b"sound").hexdigest())


def test_werkzeugs_form_parser_writes_straight_into_an_upload(files: TaskFiles) -> None:
    sound = os.urandom(300_000)
    environ = EnvironBuilder(method="POST", data={"file": (io.BytesIO(sound), "a.wav"), "model": "base"}).get_environ()
    made: list[Upload] = []

    def stream_factory(*_: object, **__: object) -> Upload:
        made.append(files.begin_upload(ID))
        return made[-1]

    _, form, received = FormDataParser(stream_factory=stream_factory).parse_from_environ(environ)  # type: ignore[arg-type]

    assert form["model"] == "base"
    assert received["file"].read() == sound
    assert received["file"].tell() == len(sound)
    made[0].commit()
    received["file"].close()
    assert files.find_media(ID).read_bytes() == sound
    assert made[0].sha256 == hashlib.sha256(sound).hexdigest()


def test_an_upload_reads_anywhere_and_still_writes_at_its_end(files: TaskFiles) -> None:
    with files.begin_upload(ID) as upload:
        upload.write(b"abcdef")
        assert (upload.seek(2), upload.read(3), upload.tell()) == (2, b"cde", 5)
        assert (upload.seek(-1, os.SEEK_END), upload.read()) == (5, b"f")
        upload.seek(0)
        upload.write(b"ghi")
        assert upload.read() == b"abcdefghi"
        with pytest.raises(ValueError, match="negative"):
            upload.seek(-1)


def test_an_upload_that_is_not_committed_leaves_nothing(files: TaskFiles) -> None:
    with files.begin_upload(ID) as upload:
        upload.write(b"sound")
    assert names(files.root) == []
    forgotten = files.begin_upload(ID)
    del forgotten
    assert names(files.root) == []


def test_a_committed_upload_can_be_discarded_and_takes_no_more(files: TaskFiles) -> None:
    upload = files.begin_upload(ID)
    upload.write(b"sound")
    upload.commit()
    with pytest.raises(ValueError, match="committed"):
        upload.write(b"more")
    upload.discard()
    upload.discard()
    assert names(files.root) == []


def test_too_many_bytes_are_refused_and_nothing_is_kept(files: TaskFiles) -> None:
    upload = files.begin_upload(ID, max_bytes=10)
    upload.write(b"x" * 10)
    with pytest.raises(FileTooLargeError):
        upload.write(b"x")
    assert names(files.root) == []


def test_an_upload_that_would_leave_too_little_free_space_is_refused_before_it_begins(tmp_path: Path) -> None:
    files = TaskFiles(tmp_path, min_free_bytes=10**18)
    files.make_folders()
    with pytest.raises(DiskFullError):
        files.begin_upload(ID)

    roomy = TaskFiles(tmp_path, min_free_bytes=0)
    with pytest.raises(DiskFullError):
        roomy.begin_upload(ID, expected_bytes=10**18)
    assert names(tmp_path) == []


def test_an_upload_that_leaves_too_little_free_space_while_it_arrives_is_refused(
    files: TaskFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = files.begin_upload(ID)
    monkeypatch.setattr("optimizer.storage.upload_file.SPACE_CHECK_BYTES", 1000)
    monkeypatch.setattr(files, "_min_free_bytes", 10**18)
    upload.write(b"x" * 999)
    with pytest.raises(DiskFullError):
        upload.write(b"x")
    assert names(files.root) == []


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_nothing_of_the_upload(
    files: TaskFiles, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def full(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    upload = files.begin_upload(ID)
    upload.write(b"first")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(DiskFullError):  # noqa: PT012 - `call` decides which of the two raises
        upload.write(b"second")
        upload.commit()
    monkeypatch.undo()
    assert names(files.root) == []


def test_the_operating_systems_limit_on_a_files_size_is_a_full_disk(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path; from optimizer.storage.task_files import TaskFiles\n"
        "from errors import DiskFullError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "files = TaskFiles(Path(sys.argv[1])); files.acquire_lock(); upload = files.begin_upload('a')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: upload.write(b'x' * 5000)\n"
        "except DiskFullError: sys.exit(7)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[3], check=False, timeout=60
    )
    assert ended.returncode == 7
    assert names(tmp_path) == []


def test_a_large_upload_needs_little_memory(files: TaskFiles) -> None:
    block = bytes(64 * 1024)
    with files.begin_upload(ID) as upload:
        tracemalloc.start()
        for _ in range(1600):
            upload.write(block)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert upload.size == 1600 * 64 * 1024
    assert peak < 1_000_000


def test_a_hundred_broken_uploads_leave_no_descriptor_open(files: TaskFiles) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        upload = files.begin_upload(ID)
        upload.write(b"x")
        upload.close()
    assert len(os.listdir("/proc/self/fd")) == before


# Transcripts


def test_a_transcript_comes_back_as_it_was_written(files: TaskFiles) -> None:
    sha256 = files.write_transcript(ID, TRANSCRIPT)

    assert files.read_transcript(ID) == TRANSCRIPT
    assert files.read_transcript(ID, sha256) == TRANSCRIPT
    written = files.root / "transcripts" / f"{ID}.json"
    assert hashlib.sha256(written.read_bytes()).hexdigest() == sha256


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
        files.audio_path(task_id).with_name(f"{task_id}.pcm.tmp").write_bytes(b"\0")

    with files.find_media(ID).open("rb") as download:
        files.delete(ID)
        files.delete(ID)
        assert download.read() == b"sound"
    assert names(files.root) == ["audio/other.pcm", "audio/other.pcm.tmp", "media/other", "transcripts/other.json"]
    with pytest.raises(FileMissingError):
        files.find_media(ID)


def test_the_sweep_clears_what_can_be_made_again_and_reports_what_cannot(files: TaskFiles) -> None:
    uploaded(files, "known")
    uploaded(files, "orphan")
    files.write_transcript("known", TRANSCRIPT)
    files.write_transcript("orphan", TRANSCRIPT)
    files.audio_path("known").write_bytes(b"\0\0")
    files.audio_path("orphan").write_bytes(b"\0\0")
    (files.root / "audio" / "known.pcm.tmp").write_bytes(b"\0")
    (files.root / "transcripts" / "known.json.tmp").write_bytes(b"{")
    for name, age in (("old", timedelta(hours=25)), ("young", timedelta(hours=23))):
        part = files.root / "incoming" / f"{name}.part"
        part.write_bytes(b"so")
        os.utime(part, ((NOW - age).timestamp(),) * 2)

    report = files.sweep({"known", "lost"}, NOW)

    assert report.removed == (
        "audio/known.pcm.tmp", "audio/orphan.pcm", "incoming/old.part", "transcripts/known.json.tmp",
    )  # fmt: skip
    assert report.media_without_row == ("orphan",)
    assert report.rows_without_media == ("lost",)
    assert report.transcripts_without_row == ("orphan",)
    assert names(files.root) == [
        "audio/known.pcm", "incoming/young.part", "media/known", "media/orphan", "transcripts/known.json",
        "transcripts/orphan.json",
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
