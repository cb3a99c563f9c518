"""How other threads reach the scheduler's thread, which alone changes devices and decides."""

from __future__ import annotations

import queue
from collections.abc import Callable

Action = Callable[[], None]


class Inbox:
    """`post` and `wake` from any thread; `run_actions` on the scheduler's thread."""

    def __init__(self) -> None:
        self._actions: queue.SimpleQueue[Action] = queue.SimpleQueue()
        self._is_wake_here = False

    def post(self, action: Action) -> None:
        """Run `action` on the scheduler's thread, before its next decision."""
        self._actions.put(action)

    def wake(self) -> None:
        """Have the queue looked at now. One call is enough for any number of changes before the next decision."""
        if not self._is_wake_here:
            self._is_wake_here = True
            self._actions.put(self._woken)

    def run_actions(self, timeout_s: float) -> None:
        """Sleep until something comes, at most timeout_s, then run all of it, so one decision answers many reports.

        Raises what an action raises; those behind it stay for the next call.
        """
        try:
            self._actions.get(timeout=timeout_s)()
            while True:
                self._actions.get_nowait()()
        except queue.Empty:
            return

    def _woken(self) -> None:
        """Runs before the decision, so what changes from now on wakes the loop again."""
        self._is_wake_here = False
