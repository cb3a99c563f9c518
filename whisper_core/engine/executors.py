"""The encoder's lane: work that runs beside the decoder's steps, in order, one piece at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import torch

from whisper_core.engine.streams import ENCODER_PRIORITY, new_stream, on_stream
from whisper_core.engine.threads import ThreadBudget
from whisper_core.worker.device_errors import guarded

_QUEUED_AHEAD = 2  # the piece at work and one more, so that the lane never waits for the end of a step


@dataclass(eq=False)
class _Piece:
    """event: behind the last of its work on a GPU, once the thread has launched all of it."""

    work: Callable[[], Any]
    then: Callable[[Future[Any]], None]
    future: Future[Any]
    event: torch.cuda.Event | None = None

    @property
    def is_done(self) -> bool:
        return self.future.done() and (self.event is None or guarded(self.event.query))

    def wait(self, timeout_s: float) -> None:
        if wait([self.future], timeout=timeout_s).done and self.event is not None:
            guarded(self.event.synchronize)


class Lane:
    """A thread of its own, and on a GPU a stream of its own: the thread goes on to launch the next piece while the GPU
    is at work on the one before.

    What a piece of work gave is taken by `finish`, in order, in the caller's thread, when the device is done with it.
    So it may be used on any stream; memory of the lane's stream must be told so (CrossCache.keep_for_stream).
    All methods are called from one thread. Raises DeviceLostError when the device is lost.
    """

    def __init__(self, budget: ThreadBudget, device: torch.device) -> None:
        self._budget = budget
        self._stream = new_stream(device, ENCODER_PRIORITY)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._pieces: deque[_Piece] = deque()

    @property
    def is_free(self) -> bool:
        return len(self._pieces) < _QUEUED_AHEAD

    @property
    def is_idle(self) -> bool:
        return not self._pieces

    def submit(self, work: Callable[[], Any], then: Callable[[Future[Any]], None]) -> None:
        """then: called by `finish` with the ended work's future, which holds its result or its exception."""
        piece = _Piece(work, then, Future())
        self._pieces.append(piece)
        self._executor.submit(self._run, piece)

    def finish(self) -> None:
        """Hand on everything that has ended."""
        while self._pieces and self._pieces[0].is_done:
            piece = self._pieces.popleft()
            piece.then(piece.future)

    def wait(self, timeout_s: float) -> None:
        """Until the piece at work has ended, if there is one."""
        if self._pieces:
            self._pieces[0].wait(timeout_s)

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self, piece: _Piece) -> None:
        try:
            with self._budget.share(), on_stream(self._stream):
                result = piece.work()
                if self._stream is not None:
                    piece.event = self._stream.record_event()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is taken
            piece.future.set_exception(error)
        else:
            piece.future.set_result(result)
