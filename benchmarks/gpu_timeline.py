"""When a GPU was at work for the engine: events around every pass, on both of its CUDA streams.

Recording them takes the host about two microseconds an event, so a run that is recorded is not the run whose speed is
told. What lies outside of passes counts as idle: the copies of rows and prompts, features, beams. While a pass is being
launched on an idle stream, its first event has been recorded already; so each pass has a longest and a shortest
interval, with and without the time that its launch took, and idle times lie between two bounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from unittest.mock import patch

import torch

from whisper_core.engine import batch_engine, cuda_window_memory
from whisper_core.engine.decoding import cuda_slots
from whisper_core.engine.decoding.cuda_graphs import Launch, new_launch

Range = tuple[float, float]
Work = Callable[[], Any]

TRIAL_SLOTS, TRIAL_ENCODER_BATCH = 4, 2


class Mark(Protocol):
    """A moment of the device."""

    def seconds_until(self, later: Any) -> float:
        """Both have passed. later: one of the same kind."""


class EventMark:
    """Once the work before it on this thread's CUDA stream is done."""

    def __init__(self) -> None:
        self._event = torch.cuda.Event(enable_timing=True)
        self._event.record()

    def seconds_until(self, later: EventMark) -> float:
        return self._event.elapsed_time(later._event) / 1e3


class ClockMark:
    """Of a device that is the host itself."""

    def __init__(self) -> None:
        self._at = time.perf_counter()

    def seconds_until(self, later: ClockMark) -> float:
        return later._at - self._at


def wait_for_device(is_trial: bool) -> None:
    if not is_trial:
        torch.cuda.synchronize()


def seconds_of(work: Work, times: int, is_trial: bool) -> tuple[float, float]:
    """What the device takes for it, and the host for launching it: means of several in a row, after one more."""
    new_mark: Callable[[], Mark] = ClockMark if is_trial else EventMark
    work()
    wait_for_device(is_trial)
    first, began = new_mark(), time.perf_counter()
    for _ in range(times):
        work()
    launched, last = time.perf_counter(), new_mark()
    wait_for_device(is_trial)
    return first.seconds_until(last) / times, (launched - began) / times


@dataclass(frozen=True)
class Span:
    """One run of a pass. launch_s: that the host took for it."""

    key: Any
    begin: Mark
    end: Mark
    launch_s: float


@dataclass(frozen=True)
class PassRun:
    """The same in seconds since the beginning of a recording. sure_from: when it was at work at the latest."""

    key: Any
    begin: float
    sure_from: float
    end: float


class Timeline:
    """The passes of the engines that are loaded inside `passes_in`. Records while `is_on`. Any thread."""

    def __init__(self, is_trial: bool) -> None:
        self.new_mark: Callable[[], Mark] = ClockMark if is_trial else EventMark
        self.is_on = False
        self.prepared: dict[Any, tuple[Launch, Work]] = {}  # by key
        self._is_trial = is_trial
        self._spans: list[Span] = []

    @contextmanager
    def recording(self) -> Iterator[list[PassRun]]:
        """What runs inside is in the list afterwards, in the order of its launches."""
        runs: list[PassRun] = []
        wait_for_device(self._is_trial)
        self._spans.clear()
        origin, self.is_on = self.new_mark(), True
        try:
            yield runs
        finally:
            self.is_on = False
        wait_for_device(self._is_trial)
        for span in self._spans:
            begin, end = origin.seconds_until(span.begin), origin.seconds_until(span.end)
            runs.append(PassRun(span.key, begin, min(begin + span.launch_s, end), end))

    def add(self, span: Span) -> None:
        self._spans.append(span)

    def replay_s(self, key: Hashable, times: int) -> tuple[float, float]:
        """See `seconds_of`: of a prepared pass."""
        launch, work = self.prepared[key]
        return seconds_of(lambda: launch(key, work), times, self._is_trial)


class RecordedLaunch:
    """See cuda_graphs.Launch. Another one does the work."""

    def __init__(self, launch: Launch, timeline: Timeline) -> None:
        self._launch = launch
        self._timeline = timeline

    def __call__(self, key: Hashable, work: Work) -> Any:
        timeline = self._timeline
        if not timeline.is_on:
            return self._launch(key, work)
        begin, began = timeline.new_mark(), time.perf_counter()
        result = self._launch(key, work)
        launch_s = time.perf_counter() - began
        timeline.add(Span(key, begin, timeline.new_mark(), launch_s))
        return result

    def prepare(self, key: Hashable, work: Work) -> None:
        self._launch.prepare(key, work)
        self._timeline.prepared[key] = self._launch, work


class DirectLaunch:
    """See cuda_graphs.Launch. Every pass is launched kernel by kernel."""

    def __call__(self, key: Hashable, work: Work) -> Any:
        return work()

    def prepare(self, key: Hashable, work: Work) -> None:
        work()


@contextmanager
def launched_by(make: Callable[[], Launch], is_trial: bool) -> Iterator[None]:
    """Models that are loaded and used inside launch their passes so. is_trial: on the CPU, but in a GPU's way."""
    with ExitStack() as stack:
        if is_trial:
            # Not needed on a card, where what tests are made of may not be installed.
            from tests.whisper_core.engine.as_on_gpu import as_on_gpu

            stack.enter_context(as_on_gpu(make))
            for sizes, size in ((batch_engine.SLOTS, TRIAL_SLOTS), (batch_engine.ENCODER_BATCH, TRIAL_ENCODER_BATCH)):
                stack.enter_context(patch.dict(sizes, cpu=size))
        else:
            for module in (cuda_slots, cuda_window_memory):
                stack.enter_context(patch.object(module, "new_launch", make))
        yield


@contextmanager
def passes_in(timeline: Timeline, is_trial: bool) -> Iterator[None]:
    """Models that are loaded and used inside have their passes in the timeline."""
    make = DirectLaunch if is_trial else new_launch
    with launched_by(lambda: RecordedLaunch(make(), timeline), is_trial):
        yield


# --- arithmetic ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IdleShares:
    """Bounds of the share of a time in which no pass was at work."""

    least: float
    most: float


def idle_shares(runs: Sequence[PassRun], within: Range) -> IdleShares:
    longest = [(run.begin, run.end) for run in runs]
    shortest = [(run.sure_from, run.end) for run in runs]
    return IdleShares(idle_share(longest, within), idle_share(shortest, within))


def idle_share(ranges: Sequence[Range], within: Range) -> float:
    """The part of `within` that none of the ranges covers. Whatever their order, and however they overlap."""
    first, last = within
    clipped = sorted((max(start, first), min(end, last)) for start, end in ranges if end > first and start < last)
    return 1 - covered(clipped) / (last - first)


def covered(ranges: Sequence[Range]) -> float:
    """Length of the union of (start, end), which are sorted by start."""
    total, until = 0.0, float("-inf")
    for start, end in ranges:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def steady_range(runs: Sequence[PassRun]) -> Range:
    """From the first to the last step of at least half as many slots as the largest step had: without the time in which
    slots are first filled, and the time in which tasks end."""
    steps = [run for run in runs if run.key[0] == "step"]
    most = max(run.key[2] for run in steps)
    large = [run for run in steps if 2 * run.key[2] >= most]
    return large[0].begin, large[-1].end
