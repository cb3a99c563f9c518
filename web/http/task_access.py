"""The tasks that somebody may see and change. The one place that keeps people's tasks apart.

What belongs to somebody else is not there: TaskNotFoundError, as for a task that never was. An admin sees all tasks,
and so does everybody where there are no accounts.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errors import BatchNotFoundError, ForbiddenError, TaskNotFoundError
from optimizer.accounts.principal import How, Principal
from optimizer.monitoring.event_log import EventKind, SystemEvent
from optimizer.tasks.batches import BatchPage, BatchSummary
from optimizer.tasks.events import WindowFinished
from optimizer.tasks.task import TaskFilter, TaskSort, TaskStatus
from optimizer.tasks.task_changes import TaskChanges
from optimizer.tasks.timeline import TaskEvent
from optimizer.views.task_view import TaskView
from web.http.access import current_principal
from web.http.context import current_system
from web.http.own_text import OwnText
from web.http.serializers import batch_json, counts_json, task_json
from whisper_core.audio.waveform import Waveform
from whisper_core.text.transcript import Transcript

if TYPE_CHECKING:
    from web.http.system_port import SystemPort

EVENTS_AT_ONCE, MOST_PAGES = 500, 4  # that are looked through for somebody's own; a busy server has thousands a day
_OTHER_TASK = "to_task"  # in a timeline's entry
_UNNAMED = {"id": "", "filename": ""}


def current_tasks() -> TaskAccess:
    """Those of whoever sent the request."""
    return TaskAccess(current_system(), current_principal())


class TaskAccess:
    """Any thread. Methods raise what the system's of the same name raise."""

    def __init__(self, system: SystemPort, principal: Principal) -> None:
        self._system = system
        self._principal = principal

    # --- tasks ---------------------------------------------------------------------------------------------------

    def task(self, task_id: str) -> TaskView:
        view = self._system.task(task_id)
        if self._principal.sees not in (None, view.task.owner):
            raise TaskNotFoundError()
        return view

    def tasks(self, wanted: TaskFilter) -> tuple[list[TaskView], str | None, dict[TaskStatus, int]]:
        """Of wanted.owner, if it names one and the person may see all. Raises ForbiddenError for an order by owners for
        those who are not told them."""
        if wanted.sort is TaskSort.OWNER:
            self.check_is_shown_owners()
        return self._system.tasks(replace(wanted, owner=self._principal.sees or wanted.owner))

    def batches(self, limit: int, cursor: str | None) -> BatchPage:
        return self._system.batches(self._principal.sees, limit=limit, cursor=cursor)

    def cancel_all(self, wanted: TaskFilter) -> int:
        """Of those that may be seen, or of wanted.owner. Raises ForbiddenError when those who are not told owners name
        one."""
        if wanted.owner is not None:
            self.check_is_shown_owners()
        count = self._system.cancel_all(replace(wanted, owner=self._principal.sees or wanted.owner))
        if count:
            self.audit("tasks_cancelled", count=count)
        return count

    def cancel_batch(self, batch_id: str, owner: str | None = None) -> int:
        """owner: for several may have a batch of this id. Raises BatchNotFoundError, ForbiddenError."""
        wanted = TaskFilter(batch=batch_id, owner=owner, limit=1)
        if not self.tasks(wanted)[0]:
            raise BatchNotFoundError()
        return self.cancel_all(wanted)

    def check_is_shown_owners(self) -> None:
        """Raises ForbiddenError."""
        if not self._principal.is_shown_owners:
            raise ForbiddenError()

    def transcript(self, task_id: str, *, is_original: bool = False) -> tuple[Transcript, bool]:
        return self._system.transcript(self._own(task_id), is_original=is_original)

    def text_of(self, task_id: str) -> OwnText:
        """For changing it."""
        return OwnText(self._system.editor, self._own(task_id), self._principal.name)

    def segments_from(self, task_id: str, first: int) -> WindowFinished | None:
        return self._system.segments_from(self._own(task_id), first)

    def media(self, task_id: str) -> Path:
        return self._system.media(self._own(task_id))

    def waveform(self, task_id: str) -> Waveform:
        return self._system.waveforms.of(self._own(task_id))

    def timeline(self, task_id: str) -> list[TaskEvent]:
        """A task that made way for somebody else's does not say for which."""
        events, owner = self._system.timeline(self._own(task_id)), self._principal.sees
        named = {str(event.data[_OTHER_TASK]) for event in events if _OTHER_TASK in event.data}
        foreign = named - self._system.ownership.ids_of(owner, among=named) if owner is not None else set()
        return [
            replace(event, data={name: value for name, value in event.data.items() if name != _OTHER_TASK})
            if event.data.get(_OTHER_TASK) in foreign
            else event
            for event in events
        ]

    def cancel(self, task_id: str) -> TaskView:
        view = self._system.cancel(self._own(task_id))
        self.audit("task_cancelled", task_id=task_id)
        return view

    def retry(self, task_id: str) -> TaskView:
        return self._system.retry(self._own(task_id))

    def change(self, task_id: str, wanted: TaskChanges) -> TaskView:
        return self._system.change(self._own(task_id), wanted)

    def move(self, task_id: str, other_id: str, *, is_before: bool) -> TaskView:
        return self._system.move(self._own(task_id), self._own(other_id), is_before=is_before)

    def delete(self, task_id: str) -> None:
        self._system.delete(self._own(task_id))
        self.audit("task_deleted", task_id=task_id)

    def batch_json(self, batch: BatchSummary) -> dict[str, Any]:
        return batch_json(batch, shows_owner=self._principal.is_shown_owners)

    def task_json(self, view: TaskView) -> dict[str, Any]:
        return task_json(view, shows_owner=self._principal.is_shown_owners)

    # --- the system, as far as it tells of tasks ---------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The shape of GET /api/system, with the person's own counts. Other people's running tasks have no name."""
        return self.of_status(self._system.status())

    def of_status(self, status: dict[str, Any]) -> dict[str, Any]:
        """What of the system's status this person may see."""
        owner = self._principal.sees
        if owner is None:
            return status
        running = [task_id for device in status["devices"] for task_id in device["running"]]
        own = self._system.ownership.ids_of(owner, among=running)
        devices = [
            {
                **device,
                "running": [task_id if task_id in own else "" for task_id in device["running"]],
                "tasks": [task if task["id"] in own else {**task, **_UNNAMED} for task in device["tasks"]],
            }
            for device in status["devices"]
        ]
        return {**status, "devices": devices, "counts": counts_json(self._system.ownership.counts(owner))}

    def storage_json(self) -> dict[str, Any]:
        """What this person uses of the disk; who uses how much for those who are told owners."""
        use = asdict(self._system.storage(self._principal.sees))
        owners = [_in_bytes(each) for each in use.pop("owners")]
        return {**_in_bytes(use), "owners": owners if self._principal.is_shown_owners else []}

    def events(self, kind: EventKind | None, limit: int, before: int | None) -> list[SystemEvent]:
        """The system's events, newest first, without those about other people's tasks.

        Raises ForbiddenError for the audit trail, unless an admin asks.
        """
        if kind == "audit" and not self._principal.is_admin:
            raise ForbiddenError()
        if self._principal.sees is None:
            return self._system.events(kind, limit, before)
        found: list[SystemEvent] = []
        for _ in range(MOST_PAGES):
            page = self._system.events(kind, EVENTS_AT_ONCE, before)
            found += self._without_others(self._principal.sees, page)
            if len(found) >= limit or len(page) < EVENTS_AT_ONCE:
                break
            before = page[-1].id
        return found[:limit]

    def audit(self, action: str, **data: Any) -> None:
        """Notes what this person did, where people can be told apart."""
        if self._principal.how is not How.OPEN:
            self._system.accounts.audit.record(action, self._principal.name, **data)

    def _own(self, task_id: str) -> str:
        owner = self._principal.sees
        if owner is not None and self._system.ownership.owner_of(task_id) != owner:
            raise TaskNotFoundError()
        return task_id

    def _without_others(self, owner: str, events: list[SystemEvent]) -> list[SystemEvent]:
        named = {event.id: _tasks_of(event) for event in events}
        own = self._system.ownership.ids_of(owner, among=set().union(*named.values()))
        return [event for event in events if named[event.id] <= own]


def _tasks_of(event: SystemEvent) -> set[str]:
    """The ids of the tasks that an event names."""
    return {str(event.data[name]) for name in ("task_id", "for_task") if event.data.get(name)}


def _in_bytes(use: dict[str, Any]) -> dict[str, Any]:
    """By the names that sizes have in JSON."""
    return {name if name in ("owner", "tasks") else f"{name}_bytes": value for name, value in use.items()}
