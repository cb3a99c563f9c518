"""What a worker says it uses, and its peak."""

from __future__ import annotations

import mmap
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from whisper_core.common.process_memory import ProcessMemory
from whisper_core.worker import memory_meter
from whisper_core.worker.memory_meter import CpuMeter

MB = 1_000_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot reset its peak")


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(bytes(80 * MB))
    return path


def read_all_of(path: Path) -> None:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        np.frombuffer(mapped, dtype=np.uint8).max()


def use_for_a_moment(nbytes: int) -> None:
    """Straight from the kernel and back: malloc may give memory that an earlier test has left to the process."""
    with mmap.mmap(-1, nbytes) as memory:
        for page in range(0, nbytes, mmap.PAGESIZE):
            memory[page] = 1


def test_a_peak_is_seen_though_it_began_and_ended_between_two_samples() -> None:
    meter = CpuMeter()
    use_for_a_moment(80 * MB)
    assert 75 * MB < meter.peak_since_mark() < 100 * MB
    report = meter.report()
    assert report.peak - report.used > 70 * MB


def test_a_peak_before_the_mark_is_forgotten() -> None:
    meter = CpuMeter()
    use_for_a_moment(80 * MB)
    meter.mark()
    assert meter.peak_since_mark() < 10 * MB


def test_pages_of_a_mapped_file_are_neither_use_nor_peak(weights_file: Path) -> None:
    meter = CpuMeter()
    with open(weights_file, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        before = meter.report().used
        pages = np.frombuffer(mapped, dtype=np.uint8)
        pages[: 40 * MB].max()
        meter.mark()  # as between two tasks, while the file stays mapped
        use_for_a_moment(40 * MB)
        assert 35 * MB < meter.peak_since_mark() < 50 * MB
        assert meter.report().used - before < 10 * MB
        del pages


def test_a_low_peak_is_seen_after_a_high_one_of_file_pages(weights_file: Path) -> None:
    """The kernel's own peak would not rise, because more was resident while the file was mapped."""
    meter = CpuMeter()
    read_all_of(weights_file)
    meter.mark()
    use_for_a_moment(40 * MB)
    assert 35 * MB < meter.peak_since_mark() < 50 * MB


def test_a_peak_is_never_taken_for_less_than_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether the files' pages were there at the peak, so the fewest there were are taken off."""
    readings = iter(
        [
            ProcessMemory(resident=100, files=10, peak_resident=100),
            ProcessMemory(resident=100, files=10, peak_resident=100),
            ProcessMemory(resident=130, files=40, peak_resident=190),
        ]
    )
    monkeypatch.setattr(memory_meter, "read_process_memory", lambda: next(readings))
    assert CpuMeter().peak_since_mark() == 190 - 10 - 90


def test_samples_in_quick_succession_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = CpuMeter()
    taken: list[None] = []
    monkeypatch.setattr(meter, "_take_sample", lambda: taken.append(None))
    monkeypatch.setattr(time, "monotonic", lambda: meter._sampled_at + 0.01)
    meter.sample()
    assert taken == []
    monkeypatch.setattr(time, "monotonic", lambda: meter._sampled_at + 1.0)
    meter.sample()
    assert taken == [None]
