"""Whose tasks are whose, for those who may see only their own."""

from __future__ import annotations

from collections.abc import Collection

from optimizer.queue.quotas import OwnerQuotas
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import TaskStatus


class Ownership:
    """Any thread. Methods raise what TaskStore raises."""

    def __init__(self, store: TaskStore, quotas: OwnerQuotas) -> None:
        self._store = store
        self._quotas = quotas

    def owner_of(self, task_id: str) -> str:
        """Raises TaskNotFoundError."""
        with self._store.reading() as rows:
            return rows.owner_of(task_id)

    def ids_of(self, owner: str, among: Collection[str]) -> set[str]:
        """Which of these tasks are the owner's."""
        if not among:
            return set()
        with self._store.reading() as rows:
            return rows.ids_of(owner, among)

    def counts(self, owner: str) -> dict[TaskStatus, int]:
        """How many of the owner's tasks are in each state."""
        with self._store.reading() as rows:
            return rows.counts(owner)

    def check_quota(self, owner: str, nbytes: int) -> None:
        """Raises QuotaExceededError when the owner may not keep as much more, or has enough waiting."""
        with self._store.reading() as rows:
            self._quotas.check(rows, owner, nbytes=nbytes)
