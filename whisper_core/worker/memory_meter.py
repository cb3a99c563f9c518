"""How much memory an engine uses on its device, and its peak since a mark was set.

On the CPU this is the memory that the process holds, so everything in the process counts except pages of files (see
`process_memory`). On a GPU it is what torch's allocator holds, plus what the CUDA context took when it was created.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from pathlib import Path
from typing import Protocol

import pynvml
import torch

from whisper_core.common.process_memory import read_process_memory
from whisper_core.worker.messages import MemoryReport

log = logging.getLogger(__name__)


class MemoryMeter(Protocol):
    def mark(self) -> None:
        """Resets the peak to the present use."""

    def sample(self) -> None:
        """To be called often, between any two pieces of work; costs next to nothing. Any thread."""

    def report(self) -> MemoryReport:
        """The present use and the peak since the mark. Any thread."""

    def peak_since_mark(self) -> int:
        """By how many bytes the peak exceeds the use at the mark."""


class CpuMeter:
    """The kernel records the peak of all resident pages, those of files included, which come and go on their own.

    So a sample takes the peak since the last one, less the pages of files that there were meanwhile, and resets it. It
    is too much by the files' pages that came or went between two samples, and too little only by those that went before
    the peak and came back after it. Outside Linux it is the highest resident memory in the process's life.
    """

    _RESET_PEAK = "5"  # see proc(5), clear_refs
    _LEAST_INTERVAL_S = 0.1  # a sample takes 0.06 ms, beside page faults of other threads 0.2 ms

    def __init__(self) -> None:
        self._lock = threading.Lock()  # heartbeats report from a thread of their own
        self._used_at_mark = 0
        self._peak = 0
        self._files = 0  # at the last sample
        self._sampled_at = 0.0
        self.mark()

    def mark(self) -> None:
        with self._lock:
            self._take_sample()
            self._used_at_mark = self._peak = self._take_sample()

    def sample(self) -> None:
        if time.monotonic() - self._sampled_at >= self._LEAST_INTERVAL_S:
            with self._lock:
                self._take_sample()

    def report(self) -> MemoryReport:
        with self._lock:
            used = self._take_sample()
            return MemoryReport(used=used, peak=self._peak)

    def peak_since_mark(self) -> int:
        with self._lock:
            self._take_sample()
            return max(0, self._peak - self._used_at_mark)

    def _take_sample(self) -> int:
        """The present use. Under the lock."""
        memory = read_process_memory()
        if sys.platform == "linux":
            # A container may forbid it; then the peak includes what was before the mark, so it is never too low.
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text(self._RESET_PEAK)
        self._peak = max(self._peak, memory.held, memory.peak_resident - min(self._files, memory.files))
        self._files = memory.files
        self._sampled_at = time.monotonic()
        return memory.held


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

    def sample(self) -> None:
        """Nothing to do: torch records the peak."""

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
