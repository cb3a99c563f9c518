"""How slow a client may be. A slow one holds up nobody else, but it holds memory and descriptors, so it has to move on.

The rate is what a poor mobile link (EDGE, 32 kbit/s) still reaches. Half a minute without a byte is forgiven, as in a
tunnel, and a quarter of the rate is cut after 40 s.
"""

from __future__ import annotations

LEAST_BYTES_PER_S = 4_000.0
PATIENCE_S = 30.0


class Pace:
    """The time for which one client may still keep us waiting. Waiting uses it up, and bytes earn it back."""

    def __init__(self, patience_s: float | None = None, least_bytes_per_s: float = LEAST_BYTES_PER_S) -> None:
        """patience_s: PATIENCE_S unless given. With an infinite rate it is a time-out that bytes do not extend."""
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._least_bytes_per_s = least_bytes_per_s
        self._left_s = self._patience_s

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._left_s)

    @property
    def is_used_up(self) -> bool:
        return self._left_s <= 0

    def record(self, waited_s: float, nbytes: int) -> None:
        """waited_s: spent on waiting for the client only, not on our own work."""
        self._left_s = min(self._patience_s, self._left_s - waited_s + nbytes / self._least_bytes_per_s)
