"""How many bytes of samples may lie on the disk for tasks that wait.

Samples are much larger than most uploads (115 MB for an hour, and 85 kB of FLAC can be 12 hours), so only those of the
next tasks are kept: within a budget, of which one owner gets a share, and never below the disk's floor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from errors import DiskFullError
from optimizer.storage.task_files import TaskFiles
from whisper_core.audio.sample_writer import KeepSamples
from whisper_core.audio.sandbox import READ_BYTES

OWNERS_SHARE = 0.5
SPACE_CHECK_BYTES = 4_000_000  # how much is written between two looks at the disk, and so the least room for a decode


class SampleBudget:
    """Any thread. A claim is what one decode may have written; it ends with `release`.

    kept_bytes: what the samples of all waiting tasks take, and those of one owner's; without claims.
    """

    def __init__(self, files: TaskFiles, kept_bytes: Callable[[str], tuple[int, int]], max_bytes: int) -> None:
        self._files = files
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._claims: dict[str, tuple[str, int]] = {}  # owner and bytes, by task id
        self.max_bytes = max_bytes
        self.owner_max_bytes = int(max_bytes * OWNERS_SHARE)

    def growing_claim(self, task_id: str, owner: str) -> KeepSamples:
        """For a recording of unknown length: keeps its samples while budget and disk allow."""
        return partial(self._grow, task_id, owner)

    def fixed_claim(self, task_id: str, owner: str, nbytes: int) -> KeepSamples:
        """For samples that must be made now: only the disk's floor ends that, with DiskFullError."""
        with self._lock:
            self._claims[task_id] = (owner, nbytes)
        return self._require_floor

    def release(self, task_id: str) -> None:
        """Harmless when there is no claim."""
        with self._lock:
            self._claims.pop(task_id, None)

    def excess_bytes(self) -> int:
        """By how much the kept samples and the claims are above the budget; negative: what is left of it."""
        return self._kept_bytes("")[0] + self._claimed() - self.max_bytes

    def missing_on_disk(self, nbytes: int) -> int:
        """How much must become free before so many bytes more than the claims fit above the floor; 0 or less: none."""
        return nbytes + self._claimed() + SPACE_CHECK_BYTES - self._files.room_bytes()

    def _grow(self, task_id: str, owner: str, nbytes: int) -> bool:
        total, of_owner = self._kept_bytes(owner)
        with self._lock:
            _, before = self._claims.pop(task_id, (owner, 0))
            total += sum(claim for _, claim in self._claims.values())
            of_owner += sum(claim for whose, claim in self._claims.values() if whose == owner)
            if total + nbytes > self.max_bytes or of_owner + nbytes > self.owner_max_bytes:
                return False
            self._claims[task_id] = (owner, nbytes)
        if self._is_at_floor(before, nbytes):
            self.release(task_id)
            return False
        return True

    def _require_floor(self, nbytes: int) -> bool:
        if self._is_at_floor(nbytes - READ_BYTES, nbytes):  # no write is larger
            raise DiskFullError()
        return True

    def _is_at_floor(self, before: int, nbytes: int) -> bool:
        """Looks at the disk only now and then, and before the first write."""
        is_check_due = before <= 0 or before // SPACE_CHECK_BYTES != nbytes // SPACE_CHECK_BYTES
        return is_check_due and self._files.room_bytes() < SPACE_CHECK_BYTES

    def _claimed(self) -> int:
        with self._lock:
            return sum(claim for _, claim in self._claims.values())
