"""The engine's own code with a GPU that only takes time: what is launched when, and how long the device waits.

Nothing is computed. Kernels and launches cost what `Costs` says; windows end after as many tokens as a test wants. The
clock is virtual, so the same run gives the same figures everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from tests.whisper_core.engine.as_on_gpu import as_on_gpu
from tests.whisper_core.engine.ending_windows import EndingReadback
from tests.whisper_core.engine.fake_cuda import FakeEvent, FakeStream
from whisper_core.audio.log_mel import LogMel
from whisper_core.common.units import WINDOW_FRAMES
from whisper_core.engine import batch_engine
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.engine.decoding import cuda_slots
from whisper_core.engine.decoding.sequence import Sequence as Decoding
from whisper_core.engine.executors import run_inline

DECODER, ENCODER = "decoder", "encoder"


@dataclass(frozen=True)
class Costs:
    """Seconds. Of a step: what every one takes, and what each slot adds; of the other passes likewise."""

    step: float
    step_slot: float
    encoding: float
    encoding_window: float
    prompt: float = 0.5e-3
    prompt_window: float = 0.1e-3
    launch: float = 10e-6  # the host's part
    round: float = 150e-6  # likewise
    window_end: float = 300e-6  # likewise


@dataclass
class Lane:
    """A CUDA stream."""

    free_at: float = 0.0
    busy: list[tuple[float, float]] = field(default_factory=list)

    def append(self, now: float, seconds: float) -> None:
        start = max(self.free_at, now)
        self.free_at = start + seconds
        self.busy.append((start, self.free_at))


class VirtualGpu:
    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self.now = 0.0
        self.lanes = {DECODER: Lane(), ENCODER: Lane()}
        self.step_sizes: list[int] = []  # slots in use
        self.step_times: list[float] = []  # when the host had launched each

    def launch(self, key: Any) -> None:
        costs = self.costs
        match key[0]:
            case "step":
                self.lanes[DECODER].append(self.now, costs.step + key[2] * costs.step_slot)
            case "prompt":
                self.lanes[DECODER].append(self.now, costs.prompt + key[2] * costs.prompt_window)
            case "encode":
                self.lanes[ENCODER].append(self.now, costs.encoding + key[1] * costs.encoding_window)
        self.now += costs.launch

    def wait_until(self, moment: float) -> None:
        self.now = max(self.now, moment)

    @property
    def idle(self) -> float:
        """The part of the time in which neither lane was at work."""
        intervals = sorted(interval for lane in self.lanes.values() for interval in lane.busy)
        busy = reached = 0.0
        for start, end in intervals:
            busy += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return 1 - busy / max(self.now, reached)


class VirtualLaunch:
    """See cuda_graphs.Launch."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._gpu = gpu

    def __call__(self, key: Hashable, work: Callable[[], Any]) -> None:
        self._gpu.launch(key)

    def prepare(self, key: Hashable, work: Callable[[], Any]) -> None:
        """Models are loaded before the clock starts."""


class VirtualEvent(FakeEvent):
    def __init__(self, stream: VirtualStream) -> None:
        super().__init__(stream)
        self._gpu = stream.gpu
        self._done_at = stream.gpu.lanes[DECODER].free_at

    def synchronize(self) -> None:
        super().synchronize()
        self._gpu.wait_until(self._done_at)


class VirtualStream(FakeStream):
    def __init__(self, gpu: VirtualGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def record_event(self) -> FakeEvent:
        return VirtualEvent(self)


class VirtualExecutor:
    """See SerialExecutor. A call is over when what it launched for the encoder is."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._gpu = gpu
        self._calls: deque[tuple[float, Callable[[Future[Any]], None], Future[Any]]] = deque()

    @property
    def has_capacity(self) -> bool:
        return len(self._calls) < 2

    @property
    def is_idle(self) -> bool:
        return not self._calls

    def submit(self, work: Callable[[], Any], on_result: Callable[[Future[Any]], None]) -> None:
        now = self._gpu.now
        future = run_inline(work)
        self._calls.append((self._gpu.lanes[ENCODER].free_at, on_result, future))
        self._gpu.now = now  # it is launched in a thread of its own

    def run(self, work: Callable[[], None]) -> None:
        work()

    def deliver_results(self) -> None:
        while self._calls and self._calls[0][0] <= self._gpu.now:
            _, on_result, future = self._calls.popleft()
            on_result(future)

    def wait(self, timeout_s: float) -> None:
        self._gpu.wait_until(min(self._gpu.now + timeout_s, self._calls[0][0]) if self._calls else self._gpu.now + 1e-3)

    def close(self) -> None:
        """It has no thread."""


class VirtualReadback(EndingReadback):
    def __init__(self, gpu: VirtualGpu, num_tokens: Callable[[], int]) -> None:
        super().__init__(num_tokens)
        self._gpu = gpu

    def finished(self, sequences: list[Decoding], num_rows: int, *, may_lag: bool = True) -> list[Decoding]:
        self._gpu.step_sizes.append(len(sequences))
        self._gpu.step_times.append(self._gpu.now)
        ended = super().finished(sequences, num_rows, may_lag=may_lag)
        self._gpu.now += len(ended) * self._gpu.costs.window_end
        return ended


@contextmanager
def virtual_gpu(costs: Costs, num_tokens: Callable[[], int], slots: int = 64) -> Iterator[VirtualGpu]:
    """Engines that are made meanwhile have it. num_tokens: of each window in turn."""
    gpu = VirtualGpu(costs)
    mel = torch.zeros(80, WINDOW_FRAMES)
    advance = BatchEngine.advance

    def advance_and_take_time(engine: BatchEngine) -> None:
        gpu.now += costs.round
        advance(engine)

    with as_on_gpu(lambda: VirtualLaunch(gpu), VirtualStream(gpu)), pytest.MonkeyPatch.context() as patch:
        patch.setitem(batch_engine.SLOTS, "cpu", slots)
        patch.setitem(batch_engine.ENCODER_BATCH, "cpu", 8)
        patch.setattr(batch_engine, "SerialExecutor", lambda *_: VirtualExecutor(gpu))
        patch.setattr(BatchEngine, "advance", advance_and_take_time)
        patch.setattr(cuda_slots, "LaggedReadback", lambda: VirtualReadback(gpu, num_tokens))
        patch.setattr(LogMel, "prepare", lambda recording, frames: True)
        patch.setattr(LogMel, "normalised", lambda recording, first: mel)
        yield gpu


def windows_a_step(gpu: VirtualGpu) -> float:
    return sum(gpu.step_sizes) / len(gpu.step_sizes)


def lower_bound(costs: Costs, slots: int, tokens: Sequence[int]) -> float:
    """Seconds that the busier lane needs at least for windows of so many tokens, always with full passes."""
    decoding = sum(tokens) / slots * (costs.step + slots * costs.step_slot)
    encoding = len(tokens) * (costs.encoding / 8 + costs.encoding_window)
    return max(decoding, encoding)
