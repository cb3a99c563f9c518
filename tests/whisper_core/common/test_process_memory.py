"""What a process holds, and what of its resident memory the system can take back."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from whisper_core.common.process_memory import ProcessMemory, parse_status, read_process_memory

MB = 1_000_000
STATUS = """Name:\tpython
VmHWM:\t    900 kB
VmRSS:\t    800 kB
RssAnon:\t    450 kB
RssFile:\t    300 kB
RssShmem:\t     50 kB
"""

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells pages of files from others")


def test_anonymous_and_shared_memory_are_held_and_pages_of_files_are_not() -> None:
    memory = parse_status(STATUS)
    assert memory == ProcessMemory(resident=800 * 1024, files=300 * 1024, peak_resident=900 * 1024)
    assert memory.held == (450 + 50) * 1024


def test_where_pages_of_files_are_not_told_apart_all_that_is_resident_is_held() -> None:
    assert parse_status("VmHWM:\t900 kB\nVmRSS:\t800 kB\n").held == 800 * 1024


def test_a_process_that_is_ending_says_nothing_of_memory() -> None:
    with pytest.raises(KeyError):
        parse_status("Name:\tpython\nState:\tZ (zombie)\n")


def test_there_is_nothing_to_read_of_a_process_that_has_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(psutil.Error):
        read_process_memory(ended.pid)


@only_linux
def test_a_mapped_file_is_resident_and_not_held(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(40 * MB))
    before = read_process_memory()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        np.frombuffer(mapped, dtype=np.uint8).max()  # reads every page
        during = read_process_memory()
    assert during.files - before.files > 35 * MB
    assert during.held - before.held < 10 * MB


@only_linux
def test_a_process_is_seen_by_others_as_it_sees_itself() -> None:
    mine, others = read_process_memory(), read_process_memory(os.getpid())
    assert others.held == pytest.approx(mine.held, rel=0.1)
