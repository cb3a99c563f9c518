"""Recordings on a node: nobody else reads them, and what a killed process left goes."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from optimizer.cluster.sound import SoundFolder, chunks_of, fingerprint


@pytest.fixture(autouse=True)
def temp_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def recordings(folder: Path) -> set[str]:
    return {path.stem for path in folder.rglob("*.pcm")}


def test_only_this_user_can_read_what_is_there(temp_dir: Path) -> None:
    sound = SoundFolder("cuda:0")
    sound.write("a1", 0, b"so")
    sound.write("a1", 2, b"und")
    sound.write("a1", 0, b"so")  # an answer was lost
    path = sound.path("a1")
    assert path.read_bytes() == b"sound"
    for each in (path, path.parent, path.parent.parent):
        assert each.stat().st_mode & 0o077 == 0
    sound.remove("a1")
    assert recordings(temp_dir) == set()
    sound.close()


def test_the_end_of_a_device_s_process_leaves_its_successor_s_recordings(temp_dir: Path) -> None:
    """It may be noticed late. And two servers may use the same device."""
    first = SoundFolder("cpu")
    first.write("a1", 0, b"old")
    second = SoundFolder("cpu")
    second.write("a2", 0, b"new")
    assert recordings(temp_dir) == {"a1", "a2"}
    first.close()
    first.close()
    assert recordings(temp_dir) == {"a2"}
    second.close()


def keep_a_folder(connection: Connection, temp_dir: str) -> None:
    import tempfile

    tempfile.tempdir = temp_dir
    SoundFolder("cuda:1").write("left", 0, b"behind")
    connection.send(None)
    connection.recv()


def test_what_a_killed_process_left_goes_when_the_next_begins(temp_dir: Path) -> None:
    """Whatever device it is of."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        process = multiprocessing.get_context("spawn").Process(target=keep_a_folder, args=(theirs, str(temp_dir)))
        process.start()
        ours.recv()
        assert recordings(temp_dir) == {"left"}
        process.kill()
        process.join()
    sound = SoundFolder("cpu")
    assert recordings(temp_dir) == set()
    sound.close()


def test_a_folder_that_others_could_use_is_refused(temp_dir: Path) -> None:
    above = temp_dir / f"transcription-{os.getuid()}"
    above.mkdir()
    above.chmod(0o755)
    with pytest.raises(PermissionError, match="others may use it"):
        SoundFolder("cpu")


@pytest.mark.parametrize("attempt", ["../../etc/passwd", "a/b", "", "a" * 65])
def test_an_attempt_s_id_leads_nowhere_else(attempt: str) -> None:
    sound = SoundFolder("cpu")
    with pytest.raises(ValueError, match="no attempt"):
        sound.write(attempt, 0, b"")
    sound.close()


def test_pieces_make_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.cluster.sound.CHUNK_BYTES", 3)
    path = tmp_path / "sound"
    path.write_bytes(b"12345678")
    assert list(chunks_of(path)) == [(0, b"123"), (3, b"456"), (6, b"78")]
    assert fingerprint(path)[0] == 8
