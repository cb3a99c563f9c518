"""What happens next: one time for each name, the earliest first."""

from __future__ import annotations

from heapq import heappop, heappush


class Calendar:
    """Setting a time replaces the name's earlier one. An event costs as much with a thousand names as with ten."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, name: str, at: float) -> None:
        """at: infinity for never."""
        if self._times.get(name) != at:
            self._times[name] = at
            if at != float("inf"):
                heappush(self._heap, (at, name))

    def next_time(self) -> float:
        """Infinity when nothing is to happen."""
        while self._heap and self._times[self._heap[0][1]] != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def pop_due(self, now: float) -> list[str]:
        """Takes out the names whose time has come, in order."""
        due = []
        while self.next_time() <= now:
            _, name = heappop(self._heap)
            self._times[name] = float("inf")
            due.append(name)
        return due
