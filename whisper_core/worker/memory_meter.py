"""How much memory an engine uses on its device, and the highest use since a mark was set.

On the CPU that is the process's resident memory, so it counts everything in the process; on a GPU it is what torch's
allocator holds, plus what the CUDA context took when it was made.
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
        """Begin anew: the peak is the present use."""

    def report(self) -> MemoryReport:
        """Use now and peak since the mark. Any thread."""

    def peak_since_mark(self) -> int:
        """Bytes by which the peak is above the use at the mark."""


class CpuMeter:
    """Linux counts the peak itself and lets it be reset; elsewhere the peak is the process's highest ever."""

    _RESET_PEAK = "5"  # see proc(5), clear_refs

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._used_at_mark = 0
        self.mark()

    def mark(self) -> None:
        if sys.platform == "linux":
            # A container may forbid it; the peak is then too old, but never too low.
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
    """Makes the CUDA context when it is constructed, and measures it (with what other processes take meanwhile)."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._context_bytes = self._measure_context()
        self._reserved_at_mark = 0
        self.mark()

    def mark(self) -> None:
        """Also returns cached memory to the device, so that the next peak is not hidden in what the last task left."""
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
        """What the device lost besides torch's own allocations. By NVML before and after: it sees the device before
        this process touches it, and counts the driver's own memory as used, which `mem_get_info` does not."""
        before = _used_on(self._device)
        torch.zeros(1, device=self._device)
        after = _used_on(self._device)
        if before is None or after is None:
            return 0
        return max(0, after - before - torch.cuda.memory_reserved(self._device))


def _used_on(device: torch.device) -> int | None:
    """Bytes in use on a device by all, without making a CUDA context; None where NVML cannot say."""
    try:
        return int(torch.cuda.device_memory_used(device))
    except (ModuleNotFoundError, RuntimeError, pynvml.NVMLError) as error:
        log.warning("event=context_not_measured device=%s reason=%s", device, type(error).__name__)
        return None
