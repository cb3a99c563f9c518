"""How much memory an engine uses on its device, and its peak since a mark was set.

On the CPU this is the process's resident memory, so everything in the process counts. On a GPU it is what torch's
allocator holds, plus what the CUDA context took when it was created.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Protocol

import psutil
import pynvml
import torch

from whisper_core.worker.messages import MemoryReport

log = logging.getLogger(__name__)


class MemoryMeter(Protocol):
    def mark(self) -> None:
        """Resets the peak to the present use."""

    def report(self) -> MemoryReport:
        """The present use and the peak since the mark. Any thread."""

    def peak_since_mark(self) -> int:
        """By how many bytes the peak exceeds the use at the mark."""


class CpuMeter:
    """Linux records the peak and lets a process reset it. Elsewhere it is the highest use in the process's life."""

    _RESET_PEAK = "5"  # see proc(5), clear_refs

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._used_at_mark = 0
        self.mark()

    def mark(self) -> None:
        if sys.platform == "linux":
            # A container may forbid it; then the peak includes what was before the mark, so it is never too low.
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text(self._RESET_PEAK)
        self._used_at_mark = self._used()

    def report(self) -> MemoryReport:
        used = self._used()
        return MemoryReport(used=used, peak=max(used, self._peak()))

    def peak_since_mark(self) -> int:
        return max(0, self.report().peak - self._used_at_mark)

    def _used(self) -> int:
        return int(self._process.memory_info().rss)

    def _peak(self) -> int:
        if sys.platform == "linux":
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        if sys.platform == "win32":
            return int(self._process.memory_info().peak_wset)
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class CudaMeter:
    """Creates the CUDA context and measures it, together with what other processes allocate in that moment."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._context_bytes = self._measure_context()
        self._reserved_at_mark = 0
        self.mark()

    def mark(self) -> None:
        """Also returns cached memory to the device, because a cache left by the last task would hide the next peak."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        self._reserved_at_mark = torch.cuda.memory_reserved(self._device)

    def report(self) -> MemoryReport:
        used = torch.cuda.memory_reserved(self._device) + self._context_bytes
        peak = torch.cuda.max_memory_reserved(self._device) + self._context_bytes
        return MemoryReport(used=used, peak=max(used, peak))

    def peak_since_mark(self) -> int:
        return max(0, torch.cuda.max_memory_reserved(self._device) - self._reserved_at_mark)

    def _measure_context(self) -> int:
        """By how much the device's memory in use grew, without torch's own allocations.

        Read through NVML, which can look at the device before this process touches it, and which counts the driver's
        own memory as used; `mem_get_info` does neither.
        """
        before = _used_on(self._device)
        torch.zeros(1, device=self._device)
        after = _used_on(self._device)
        if before is None or after is None:
            return 0
        return max(0, after - before - torch.cuda.memory_reserved(self._device))


def meter_for(device: torch.device) -> MemoryMeter:
    return CpuMeter() if device.type == "cpu" else CudaMeter(device)


def _used_on(device: torch.device) -> int | None:
    """Bytes of the device that all processes use; creates no CUDA context. None where NVML cannot tell."""
    try:
        return int(torch.cuda.device_memory_used(device))
    except (ModuleNotFoundError, RuntimeError, pynvml.NVMLError) as error:
        log.warning("event=context_not_measured device=%s reason=%s", device, type(error).__name__)
        return None
