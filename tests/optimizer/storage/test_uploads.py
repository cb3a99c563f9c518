"""An upload becomes a task's file: whole or not at all, bounded, and with little memory."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from werkzeug.formparser import FormDataParser
from werkzeug.test import EnvironBuilder

from errors import DiskFullError, FileTooLargeError
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import Upload
from tests.optimizer.storage.helpers import ID, names


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


def test_an_upload_that_was_handed_over_stays_whatever_comes_then(files: TaskFiles) -> None:
    upload = files.begin_upload(ID)
    upload.write(b"sound")
    upload.hand_over()
    upload.discard()
    upload.close()
    assert names(files.root) == [f"incoming/{ID}.part"]


def test_what_another_process_has_given_its_place_is_not_discarded(files: TaskFiles) -> None:
    upload = files.begin_upload(ID)
    upload.write(b"sound")
    files.part_path(ID).replace(files.media_path(ID))
    upload.discard()
    assert names(files.root) == [f"media/{ID}"]


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
