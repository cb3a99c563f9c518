"""What the machine reports about a device's memory: NVML for a GPU, the kernel and the container for the CPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from optimizer.common.kinds import DeviceKind
from whisper_core.common.process_memory import read_process_memory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemoryReading:
    """Bytes of one device at one moment."""

    total: int  # 0 for a device that is gone
    free: int  # used by nobody
    ours: int | None = None  # used by this server's worker; None where only the worker itself can tell

    @property
    def is_gone(self) -> bool:
        return self.total == 0


GONE = MemoryReading(0, 0, 0)


class MemorySource(Protocol):
    def read(self, kind: DeviceKind, gpu_uuid: str | None, pid: int | None) -> MemoryReading | None:
        """pid: of the device's worker, if it has one. None when nothing is known, which does not mean that the device
        is gone."""


class MemoryProbe:
    """One thread at a time. NVML stays open between readings, because opening it can wake up every card."""

    def __init__(self) -> None:
        self._nvml: Any = None  # nvidia-ml-py ships no types
        self._has_no_nvml = False

    def read(self, kind: DeviceKind, gpu_uuid: str | None, pid: int | None) -> MemoryReading | None:
        if kind == "cpu":
            total, free = cpu_memory()
            return MemoryReading(total, free, process_bytes(pid))
        return None if gpu_uuid is None else self._read_card(gpu_uuid, pid)

    def close(self) -> None:
        if self._nvml is not None:
            nvml, self._nvml = self._nvml, None
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError as error:
                log.debug("event=nvml_not_closed reason=%s", error)

    def _read_card(self, gpu_uuid: str, pid: int | None) -> MemoryReading | None:
        nvml = self._open()
        if nvml is None:
            return None
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(gpu_uuid)
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            return MemoryReading(int(memory.total), int(memory.free), _process_on_card(nvml, handle, pid))
        except (nvml.NVMLError_NotFound, nvml.NVMLError_GpuIsLost) as error:
            log.debug("event=card_gone uuid=%s reason=%s", gpu_uuid, error)
            return GONE
        except nvml.NVMLError as error:
            log.warning("event=memory_unreadable uuid=%s reason=%s", gpu_uuid, error)
            self.close()  # so that a driver that was reloaded is opened again next time
            return None

    def _open(self) -> Any:
        if self._nvml is None and not self._has_no_nvml:
            import pynvml

            try:
                pynvml.nvmlInit()
                self._nvml = pynvml
            except pynvml.NVMLError as error:
                # A missing library stays missing; a driver that does not answer may come back.
                self._has_no_nvml = isinstance(error, pynvml.NVMLError_LibraryNotFound)
                log.info("event=no_nvml reason=%s", error)
        return self._nvml


def cpu_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[int, int]:
    """Bytes of this machine or container: how many it has, and how many are available without swapping."""
    machine = psutil.virtual_memory()
    total, free = int(machine.total), int(machine.available)
    for limit_bytes, used_bytes in _container_limits(cgroup):
        total, free = min(total, limit_bytes), min(free, max(0, limit_bytes - used_bytes))
    return total, free


def process_bytes(pid: int | None) -> int | None:
    """Bytes that the process holds, as its worker counts them; pages of files do not count."""
    if pid is None:
        return None
    try:
        return read_process_memory(pid).held
    except psutil.Error:
        return None  # it has just ended


def _container_limits(cgroup: Path) -> list[tuple[int, int]]:
    """Limit and use of the container in bytes, where it has a limit: from control groups version 2, then 1."""
    found = []
    for folder, limit_name, use_name, cache_name in (
        (cgroup, "memory.max", "memory.current", "inactive_file"),
        (cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit, used = (folder / limit_name).read_text().strip(), int((folder / use_name).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit.isdigit():  # without one it says `max`
            found.append((int(limit), max(0, used - int(statistics.get(cache_name, 0)))))
    return found


def _process_on_card(nvml: Any, handle: Any, pid: int | None) -> int | None:
    """None where the driver does not tell, or knows the process by an id from outside our container."""
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError as error:
        log.debug("event=processes_unreadable reason=%s", error)
        return None
    return next((int(each.usedGpuMemory) for each in processes if each.pid == pid and each.usedGpuMemory), None)
