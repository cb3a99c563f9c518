"""What failpoints do in tests: end the process, or count the steps and fail at one of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from optimizer.common import failpoints
from optimizer.common.failpoints import FAILPOINTS, Action


def kill_process() -> None:
    """An action: the process ends here as in a power cut, without cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def counted(name: str) -> Iterator[list[str]]:
    """The hits of this failpoint within the block, one entry each."""
    hits: list[str] = []
    failpoints.arm({name: lambda: hits.append(name)})
    try:
        yield hits
    finally:
        failpoints.disarm()


class NthHit:
    """An action that counts its calls, at whichever failpoints, and acts only at the nth (from 1).

    Armed everywhere with n = 1, 2, 3 … until a run ends without `fired`, it interrupts a scenario at each of its steps.
    """

    def __init__(self, n: int, action: Action) -> None:
        self._left = n
        self._action = action
        self._lock = threading.Lock()
        self.fired = False

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            is_turn = self._left == 0
            self.fired = self.fired or is_turn
        if is_turn:
            self._action()

    def everywhere(self) -> dict[str, Action]:
        return dict.fromkeys(FAILPOINTS, self)
