"""Where work runs: threads that work beside the decoder's steps, their share of the cores, and their CUDA streams.

On two cores, the encoder and the decoder side by side with one thread each do more than both in turn with two threads:
the encoder is bound by arithmetic and the decoder by memory, small products gain little from a second thread, and
OpenMP threads that have to wait for a core spin until they get it (docs/engine-notes.md). On a GPU they run side by
side on two CUDA streams for the same reason; on the CPU there are no streams.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from whisper_core.worker.device_errors import guarded

T = TypeVar("T")

DECODER_PRIORITY = -1  # lower goes first: a step's small kernels must not queue behind the encoder's large ones
ENCODER_PRIORITY = 0

QUEUED_AHEAD = 2  # the call at work and one more, so that the thread does not wait for the end of a decoder's step


class CoreShare:
    """Divides the cores between the threads that are at work. Any thread.

    cores: what the engine may use in all.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._lock = threading.Lock()
        self._at_work = 0

    @contextmanager
    def claim(self, at_most: int | None = None) -> Iterator[int]:
        """Sets torch's number of threads, for the calling thread only: all cores when no other claim is held at this
        moment, else half of them; never more than `at_most`. Yields how many it would be without `at_most`."""
        with self._lock:
            self._at_work += 1
            available = self._cores if self._at_work == 1 else max(1, self._cores // 2)
        threads = min(available, at_most or available)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        try:
            yield available
        finally:
            with self._lock:
                self._at_work -= 1


class SerialExecutor:
    """Runs calls one after the other in a thread of its own, and on a GPU on a CUDA stream of its own.

    `deliver_results` hands over results in order, in the caller's thread, once the device has computed them. They may
    be used on any CUDA stream. On a GPU
    the thread launches the next call while the GPU works on the one before.
    queued_ahead: calls that may be submitted before the first of them was delivered.
    All methods are called from one thread. Raises DeviceLostError when the device is lost.
    """

    def __init__(self, cores: CoreShare, device: torch.device, name: str, queued_ahead: int = QUEUED_AHEAD) -> None:
        self._cores = cores
        self._queued_ahead = queued_ahead
        self._cuda_stream = new_cuda_stream(device, ENCODER_PRIORITY)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._calls: deque[_Call] = deque()

    @property
    def has_capacity(self) -> bool:
        """Whether another call may be submitted."""
        return len(self._calls) < self._queued_ahead

    @property
    def is_idle(self) -> bool:
        return not self._calls

    def submit(self, work: Callable[[], T], on_result: Callable[[Future[T]], None]) -> None:
        """on_result: called by `deliver_results` with a completed future: what `work` returned or raised."""
        call = _Call(work, on_result, Future())
        self._calls.append(call)
        self._executor.submit(self._run, call)

    def run(self, work: Callable[[], None]) -> None:
        """Waits until the device has done the work, behind all calls that were submitted. Raises what it raises."""
        self._executor.submit(self._run_to_the_end, work).result()

    def deliver_results(self) -> None:
        """Hand over the results of all calls that have completed."""
        while self._calls and self._calls[0].is_complete:
            call = self._calls.popleft()
            call.on_result(call.future)

    def wait(self, timeout_s: float) -> None:
        """Until the call at work has completed, if there is one."""
        if self._calls:
            self._calls[0].wait(timeout_s)

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run_to_the_end(self, work: Callable[[], None]) -> None:
        with self._cores.claim(), on_cuda_stream(self._cuda_stream):
            work()
            if self._cuda_stream is not None:
                self._cuda_stream.synchronize()

    def _run(self, call: _Call) -> None:
        try:
            with self._cores.claim(), on_cuda_stream(self._cuda_stream):
                try:
                    result = call.work()
                finally:  # what it had launched before it failed is at work, too
                    if self._cuda_stream is not None:
                        call.event = self._cuda_stream.record_event()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is used
            call.future.set_exception(error)
        else:
            call.future.set_result(result)


@dataclass(eq=False)
class _Call:
    work: Callable[[], Any]
    on_result: Callable[[Future[Any]], None]
    future: Future[Any]
    event: torch.cuda.Event | None = None  # on a GPU: behind the last of its kernels, once all are launched

    @property
    def is_complete(self) -> bool:
        return self.future.done() and (self.event is None or guarded(self.event.query))

    def wait(self, timeout_s: float) -> None:
        if wait([self.future], timeout=timeout_s).done and self.event is not None:
            guarded(self.event.synchronize)


def run_inline(work: Callable[[], T]) -> Future[T]:
    """What a SerialExecutor delivers, computed at once in the calling thread."""
    future: Future[T] = Future()
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001 - it is raised where the result is used
        future.set_exception(error)
    return future


def new_cuda_stream(device: torch.device, priority: int) -> torch.cuda.Stream | None:
    """None on the CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]


@contextmanager
def on_cuda_stream(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """What this thread launches inside goes to the stream and to the stream's device. None: nothing changes."""
    if stream is None:
        yield
        return
    with torch.cuda.stream(stream):
        yield
