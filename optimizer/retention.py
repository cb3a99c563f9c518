"""Removes recordings and tasks that are older than KEEP_MEDIA_DAYS and KEEP_TEXT_DAYS say; both are off by default.

What waits or runs is never touched, and nothing sooner than a day after the setting came into force: until then the
system and each task say when it will be. What was removed is in the audit trail.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from config import Settings
from errors import CANNOT_STORE, TaskNotFoundError
from optimizer.common.clock import Clock
from optimizer.monitoring.audit import AuditTrail
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.storage import aged_tasks
from optimizer.storage.documents import DocumentStore
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.task_endings import TaskEndings
from optimizer.tasks.retention import RetentionRules, Rule, is_finished

log = logging.getLogger(__name__)

DOCUMENT = "retention"
EVERY_S = 60.0
MOST_AT_ONCE = 100
LONGEST_JUMP = timedelta(hours=1)  # of the wall clock; after a longer one the notice is given again
BY_SETTING = "server"


class Retention:
    """`open` first; `sweep` on one thread. `rules` on any."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: TaskStore,
        documents: DocumentStore,
        queue: IntelligentQueueManager,
        files: TaskFiles,
        endings: TaskEndings,
        audit: AuditTrail,
        clock: Clock,
    ) -> None:
        self._days = {"media": settings.keep_media_days, "text": settings.keep_text_days}
        self._store = store
        self._documents = documents
        self._queue = queue
        self._files = files
        self._endings = endings
        self._audit = audit
        self._clock = clock
        self._rules = RetentionRules()
        self._swept_at = float("-inf")
        self._offset = timedelta()  # of the wall clock against the one that is never set
        self.deciding = threading.Lock()  # held while old tasks are deleted, and while one begins anew

    def open(self) -> None:
        """Raises StoreBusyError, DiskFullError, DatabaseDamagedError."""
        self._offset = self._wall_offset()
        known = self._documents.read(DOCUMENT).get(DOCUMENT)
        self._put_in_force(known if isinstance(known, dict) else {})

    def rules(self) -> RetentionRules:
        return self._rules

    def sweep(self) -> None:
        """Removes what is too old, some of it at a time. Cheap when there is nothing."""
        now_s = self._clock.monotonic()
        if not any(self._days.values()) or now_s - self._swept_at < EVERY_S:
            return
        self._swept_at = now_s
        try:
            self._check_clock()
            self._delete_old_tasks()
            self._remove_old_media()
        except CANNOT_STORE as error:
            log.warning("event=retention_waits code=%s", error.code)

    def _put_in_force(self, known: dict[str, Any]) -> None:
        """known: the rules of the last start, each with when it came into force."""
        now = self._clock.now()
        rules = {name: _rule(days, known.get(name), now) for name, days in self._days.items()}
        written = {
            name: {"days": rule.days, "since": rule.since.isoformat()}
            for name, rule in rules.items()
            if rule is not None
        }
        if written != known:
            self._documents.write({DOCUMENT: written})
        self._rules = RetentionRules(**rules)
        for name, rule in rules.items():
            if rule is not None:
                log.info("event=retention of=%s days=%d acts_from=%s", name, rule.days, rule.acts_from.isoformat())

    def _check_clock(self) -> None:
        """A wall clock that was set wrongly must not remove anything."""
        offset = self._wall_offset()
        if abs(offset - self._offset) > LONGEST_JUMP:
            log.warning("event=clock_jumped: nothing is removed for a day")
            self._offset = offset
            self._put_in_force({})

    def _wall_offset(self) -> timedelta:
        return (
            self._clock.now()
            - datetime.fromtimestamp(0, self._clock.now().tzinfo)
            - timedelta(seconds=self._clock.since_boot())
        )

    def _delete_old_tasks(self) -> None:
        before = self._due_before(self._rules.text)
        for task_id in self._ids(before, has_media=False):
            with self.deciding, suppress(TaskNotFoundError):
                task = self._queue.get(task_id)
                if before is None or not is_finished(task) or task.finished_at is None or task.finished_at >= before:
                    continue  # it was tried again
                self._endings.delete(task_id, task.owner)
                self._audit.record("task_expired", BY_SETTING, task_id=task_id, days=self._days["text"])

    def _remove_old_media(self) -> None:
        before = self._due_before(self._rules.media)
        for task_id in self._ids(before, has_media=True):
            with self.deciding:
                removed = before and self._queue.remove_media(task_id, before, self._remover(task_id))
            if removed is not None:
                self._audit.record("media_expired", BY_SETTING, task_id=task_id, days=self._days["media"])

    def _remover(self, task_id: str) -> Callable[[], None]:
        return lambda: self._files.delete_media(task_id)

    def _ids(self, before: datetime | None, *, has_media: bool) -> list[str]:
        if before is None:
            return []
        with self._store.database.reading() as connection:
            return aged_tasks.ids_finished_before(connection, before, MOST_AT_ONCE, has_media=has_media)

    def _due_before(self, rule: Rule | None) -> datetime | None:
        """What was finished earlier is removed now; None when nothing is."""
        now = self._clock.now()
        return None if rule is None or now < rule.acts_from else now - timedelta(days=rule.days)


def _rule(days: int, known: Any, now: datetime) -> Rule | None:
    """known: what the last start wrote of it. A rule that is another one comes into force now."""
    if not days:
        return None
    with suppress(KeyError, TypeError, ValueError):
        if known["days"] == days and (since := datetime.fromisoformat(known["since"])) <= now:
            return Rule(days, since)
    return Rule(days, now)
