"""A data folder that cannot be used ends the start with one sentence and the exit code 3."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from errors import DataFolderUnusableError
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from tests.optimizer.storage.helpers import opened
from tests.paths import ROOT

ORDINARY_USER = 65534


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("make", [make_folder, make_link])
def test_the_lock_as_a_folder_or_a_link(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "lock")
    with pytest.raises(DataFolderUnusableError, match="lock must be a file of its own") as stopped:
        TaskFiles(tmp_path).acquire_lock()
    assert stopped.value.exit_code == 3
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("make", [make_folder, make_link])
def test_the_database_as_a_folder_or_a_link(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "tasks.db")
    with pytest.raises(DataFolderUnusableError, match=r"tasks\.db must be a file of its own"):
        TaskStore(tmp_path).open()
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_to_another_database_is_not_followed(tmp_path: Path) -> None:
    other, data_dir = tmp_path / "other", tmp_path / "data"
    other.mkdir()
    data_dir.mkdir()
    opened(other).close()
    (data_dir / "tasks.db").symlink_to(other / "tasks.db")
    with pytest.raises(DataFolderUnusableError, match="not a link"):
        TaskStore(data_dir).open()


def test_a_file_where_the_data_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(DataFolderUnusableError, match=r"The data folder cannot be used \(file exists\)"):
        TaskFiles(tmp_path / "data").acquire_lock()


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """That the ordinary user of `start` can reach."""
    with tempfile.TemporaryDirectory(prefix="data-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def start(data_dir: Path) -> str:
    """The error of a start by a user that may not write everywhere."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from errors import StartError; from optimizer.storage.store import TaskStore\n"
        "from optimizer.storage.task_files import TaskFiles; import sqlalchemy.dialects.sqlite.pysqlite\n"
        f"if os.getuid() == 0: os.setgid({ORDINARY_USER}); os.setuid({ORDINARY_USER})\n"
        "try:\n"
        "    TaskFiles(Path(sys.argv[1])).acquire_lock(); TaskStore(Path(sys.argv[1])).open()\n"
        "except StartError as error:\n"
        "    print(error.exit_code, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data_dir)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def give_away(folder: Path) -> None:
    if os.getuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, ORDINARY_USER, ORDINARY_USER)


def test_a_folder_that_may_not_be_written(own_folder: Path) -> None:
    data_dir = own_folder / "data"
    data_dir.mkdir(mode=0o555)
    give_away(own_folder)
    assert start(data_dir) == (
        "3 The data folder cannot be used (permission denied). Check DATA_DIR, and that this user may write there.\n"
    )
    assert list(data_dir.iterdir()) == []


def test_a_database_that_may_not_be_written(own_folder: Path) -> None:
    opened(own_folder).close()
    os.chmod(own_folder / "tasks.db", 0o444)
    give_away(own_folder)
    before = (own_folder / "tasks.db").read_bytes()
    assert start(own_folder) == ("3 The database cannot be written. Check the permissions of it and its folder.\n")
    assert (own_folder / "tasks.db").read_bytes() == before
