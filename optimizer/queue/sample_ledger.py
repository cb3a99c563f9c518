"""Which waiting tasks lack their samples, and how many bytes the samples of the others take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from optimizer.queue.ready_queue import WaitingTask


class SampleLedger:
    """Not thread-safe: the index locks. A task has samples unless it was noted that it lacks them."""

    def __init__(self, entries: Iterable[WaitingTask] = (), lacking: Iterable[str] = ()) -> None:
        """entries: all waiting tasks. lacking: ids."""
        self._lacking = set(lacking)  # also of tasks that are about to wait
        self._bytes_by_owner: defaultdict[str, int] = defaultdict(int)
        self.total_bytes = 0  # of the waiting tasks that have samples
        for entry in entries:
            self.add(entry)

    def __bool__(self) -> bool:
        """Whether any task lacks samples."""
        return bool(self._lacking)

    def lacks(self, task_id: str) -> bool:
        return task_id in self._lacking

    def note(self, task_id: str, has_samples: bool) -> None:
        """For a task that is not counted at the moment: `remove` it before, and `add` it again."""
        if has_samples:
            self._lacking.discard(task_id)
        else:
            self._lacking.add(task_id)

    def add(self, entry: WaitingTask) -> None:
        self._count(entry, +1)

    def remove(self, entry: WaitingTask) -> None:
        self._count(entry, -1)

    def bytes_of(self, owner: str) -> int:
        return self._bytes_by_owner.get(owner, 0)

    def _count(self, entry: WaitingTask, sign: int) -> None:
        if entry.id in self._lacking:
            return
        nbytes = sign * entry.sample_bytes
        self.total_bytes += nbytes
        self._bytes_by_owner[entry.owner] += nbytes
        if not self._bytes_by_owner[entry.owner]:
            del self._bytes_by_owner[entry.owner]
