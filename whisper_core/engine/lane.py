"""The encoder's lane: work that runs beside the decoder's steps, in order, one piece at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from whisper_core.engine.threads import ThreadBudget

_QUEUED_AHEAD = 2  # the piece at work and one more, so that the lane never waits for the end of a step


class Lane:
    """A thread of its own. What a piece of work gave is taken by `finished`, in order, in the caller's thread.

    All methods are called from one thread.
    """

    def __init__(self, budget: ThreadBudget) -> None:
        self._budget = budget
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._pieces: deque[tuple[Future[Any], Callable[[Future[Any]], None]]] = deque()

    @property
    def is_free(self) -> bool:
        return len(self._pieces) < _QUEUED_AHEAD

    @property
    def is_idle(self) -> bool:
        return not self._pieces

    def submit(self, work: Callable[[], Any], then: Callable[[Future[Any]], None]) -> None:
        """then: called by `finish` with the ended work's future, which holds its result or its exception."""
        self._pieces.append((self._executor.submit(self._run, work), then))

    def finish(self) -> None:
        """Hand on everything that has ended."""
        while self._pieces and self._pieces[0][0].done():
            future, then = self._pieces.popleft()
            then(future)

    def wait(self, timeout_s: float) -> None:
        """Until the piece at work has ended, if there is one."""
        if self._pieces:
            wait([self._pieces[0][0]], timeout=timeout_s)

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self, work: Callable[[], Any]) -> Any:
        with self._budget.share():
            return work()
