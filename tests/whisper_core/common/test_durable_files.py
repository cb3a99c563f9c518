"""A file gets its name only after its bytes are on the disk, and a full disk is told apart from other errors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from errors import DiskFullError
from whisper_core.common.durable_files import disk_errors, replace_durably


def test_the_file_is_synced_before_it_is_renamed_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, final = tmp_path / "text.tmp", tmp_path / "text"
    written.write_text("new")
    final.write_text("old")
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor: int) -> None:
        steps.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def recorded_replace(source: Path, destination: Path) -> None:
        steps.append("rename")
        replace(source, destination)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    replace_durably(written, final)

    assert steps == ["sync text.tmp", "rename", f"sync {tmp_path.name}"]
    assert final.read_text() == "new"
    assert not written.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_to_say_that_no_more_bytes_fit_is_a_full_disk(code: int) -> None:
    with pytest.raises(DiskFullError), disk_errors():
        raise OSError(code, os.strerror(code))


def test_other_errors_of_the_system_pass() -> None:
    with pytest.raises(PermissionError), disk_errors():
        raise PermissionError
