"""Readings of the machine: a container's limits from files, a card from a fake NVML."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pynvml
import pytest

from optimizer.memory.probes import GONE, MemoryProbe, MemoryReading, cpu_memory, process_bytes

MB = 1_000_000
CARD = "GPU-1"


def write_files(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_without_a_container_it_is_what_the_machine_has(tmp_path: Path) -> None:
    total, free = cpu_memory(tmp_path)
    assert total == psutil.virtual_memory().total
    assert 0 < free <= total


@pytest.mark.parametrize(
    ("folder", "files"),
    [
        (
            ".",
            {"memory__max": 300 * MB, "memory__current": 120 * MB, "memory__stat": f"anon 1\ninactive_file {20 * MB}"},
        ),
        (
            "memory",
            {
                "memory__limit_in_bytes": 300 * MB,
                "memory__usage_in_bytes": 120 * MB,
                "memory__stat": f"cache 5\ntotal_inactive_file {20 * MB}",
            },
        ),
    ],
)
def test_a_container_has_no_more_than_its_limit(tmp_path: Path, folder: str, files: dict[str, object]) -> None:
    """Cached pages of files that nobody uses any more can be reclaimed, so they count as free."""
    write_files(tmp_path / folder, **files)
    assert cpu_memory(tmp_path) == (300 * MB, 200 * MB)


@pytest.mark.parametrize("limit", ["max", "nonsense", 10**18])
def test_a_container_without_a_limit_has_what_the_machine_has(tmp_path: Path, limit: object) -> None:
    write_files(tmp_path, memory__max=limit, memory__current=1, memory__stat="anon 1")
    assert cpu_memory(tmp_path)[0] == psutil.virtual_memory().total


def test_a_process_holds_what_cannot_be_reclaimed() -> None:
    held = process_bytes(os.getpid())
    assert held is not None
    assert 0 < held <= psutil.Process().memory_info().rss * 1.1


def test_what_a_process_that_has_ended_holds_is_not_known() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert process_bytes(ended.pid) is None
    assert process_bytes(None) is None


def test_the_cpu_is_read_with_its_worker() -> None:
    reading = MemoryProbe().read("cpu", None, os.getpid())
    assert reading is not None
    assert reading.ours is not None
    assert reading.total > reading.free > 0


class FakeNvml:
    """Stands in for pynvml. faults: what each function raises."""

    def __init__(self) -> None:
        self.faults: dict[str, int] = {}
        self.processes: list[Any] = []
        self.opened = 0

    def __getattr__(self, name: str) -> Any:
        def call(*_: object) -> Any:
            if name in self.faults:
                raise pynvml.NVMLError(self.faults[name])
            if name == "nvmlInit":
                self.opened += 1
            answers = {
                "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=1000 * MB, free=400 * MB, used=600 * MB),
                "nvmlDeviceGetComputeRunningProcesses": self.processes,
            }
            return answers.get(name)

        return call


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvml]:
    fake = FakeNvml()
    for name in (
        "nvmlInit",
        "nvmlShutdown",
        "nvmlDeviceGetHandleByUUID",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetComputeRunningProcesses",
    ):
        monkeypatch.setattr(pynvml, name, getattr(fake, name))
    return fake


def test_a_card_says_what_our_worker_holds(nvml: FakeNvml) -> None:
    nvml.processes = [SimpleNamespace(pid=1, usedGpuMemory=9), SimpleNamespace(pid=77, usedGpuMemory=500 * MB)]
    memory = MemoryProbe()
    assert memory.read("cuda", CARD, 77) == MemoryReading(1000 * MB, 400 * MB, 500 * MB)
    assert memory.read("cuda", CARD, 77) is not None
    assert nvml.opened == 1
    memory.close()
    memory.close()


@pytest.mark.parametrize(
    "processes", [[], [SimpleNamespace(pid=77, usedGpuMemory=None)], [SimpleNamespace(pid=1, usedGpuMemory=5)]]
)
def test_in_a_container_a_card_may_not_know_our_worker(nvml: FakeNvml, processes: list[Any]) -> None:
    nvml.processes = processes
    assert MemoryProbe().read("cuda", CARD, 77) == MemoryReading(1000 * MB, 400 * MB, None)


def test_a_driver_that_does_not_list_processes_is_no_obstacle(nvml: FakeNvml) -> None:
    nvml.faults["nvmlDeviceGetComputeRunningProcesses"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert MemoryProbe().read("cuda", CARD, 77) == MemoryReading(1000 * MB, 400 * MB, None)


@pytest.mark.parametrize("where", ["nvmlDeviceGetHandleByUUID", "nvmlDeviceGetMemoryInfo"])
@pytest.mark.parametrize("fault", [pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_ERROR_GPU_IS_LOST])
def test_a_card_that_was_taken_away_is_gone(nvml: FakeNvml, where: str, fault: int) -> None:
    nvml.faults[where] = fault
    reading = MemoryProbe().read("cuda", CARD, 77)
    assert reading == GONE
    assert reading.is_gone


def test_a_driver_that_does_not_answer_gives_no_reading_and_is_opened_again(nvml: FakeNvml) -> None:
    memory = MemoryProbe()
    nvml.faults["nvmlDeviceGetMemoryInfo"] = pynvml.NVML_ERROR_UNKNOWN
    assert memory.read("cuda", CARD, 77) is None
    nvml.faults.clear()
    assert memory.read("cuda", CARD, 77) is not None
    assert nvml.opened == 2


def test_a_machine_without_the_library_is_asked_once(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryProbe()
    nvml.faults["nvmlInit"] = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    assert memory.read("cuda", CARD, 77) is None
    nvml.faults.clear()
    assert memory.read("cuda", CARD, 77) is None
    assert nvml.opened == 0


def test_a_card_without_a_name_is_left_alone(nvml: FakeNvml) -> None:
    assert MemoryProbe().read("cuda", None, 77) is None
    assert nvml.opened == 0
