"""An engine on the CPU that does what it does on a GPU: fixed slots, padded passes, finished rows read a step late.

Nothing here needs a GPU. Whether a GPU computes the same is checked by benchmarks/cuda_all.py.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from tests.whisper_core.engine.fake_cuda import FakeStream, fake_cuda
from whisper_core.engine import batch_engine, cuda_window_memory, loaded_model, model_runner
from whisper_core.engine.cuda_window_memory import CudaWindowMemory
from whisper_core.engine.decoding import cuda_slots
from whisper_core.engine.decoding.cuda_graphs import Launch
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import DecoderDims
from whisper_core.engine.network.kernels import gpu_kernels


class DirectLaunch:
    """See cuda_graphs.Launch. Calls every pass, and records the keys of those that were used."""

    def __init__(self) -> None:
        self.keys: set[Any] = set()
        self.prepared: list[Any] = []

    def __call__(self, key: Hashable, work: Callable[[], Any]) -> Any:
        self.keys.add(key)
        return work()

    def prepare(self, key: Hashable, work: Callable[[], Any]) -> None:
        self.prepared.append(key)
        work()


class UnpreparedLaunch(DirectLaunch):
    """Where passes take too long to be run for nothing."""

    def prepare(self, key: Hashable, work: Callable[[], Any]) -> None:
        self.prepared.append(key)


@contextmanager
def as_on_gpu(
    new_launch: Callable[[], Launch] = DirectLaunch, stream: FakeStream | None = None
) -> Iterator[FakeStream]:
    """Models that are loaded meanwhile are a GPU's, in memory that was full of NaN before. Yields the CUDA stream."""
    empty = CrossCache.empty

    def full_of_nan(dims: DecoderDims, slots: int) -> CrossCache:
        cache = empty(dims, slots)
        cache.keys.fill_(torch.nan)
        cache.values.fill_(torch.nan)
        return cache

    with pytest.MonkeyPatch.context() as patch, fake_cuda(stream) as current:
        patch.setitem(batch_engine.FEW_ROWS, "cpu", 0)  # the encoder's thread encodes, and no other
        patch.setattr(batch_engine.BatchEngine, "_is_gpu", True)
        patch.setattr(model_runner, "window_memory_for", CudaWindowMemory)
        patch.setattr(loaded_model, "exact_kernels", lambda model: gpu_kernels())
        patch.setattr(cuda_slots, "new_launch", new_launch)
        patch.setattr(cuda_window_memory, "new_launch", new_launch)
        patch.setattr(CrossCache, "empty", full_of_nan)
        yield current
