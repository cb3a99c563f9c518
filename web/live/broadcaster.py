"""The one thread of the live feed that emits: python-socketio's `emit` is not safe from several threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from errors import TaskNotFoundError
from optimizer.tasks.events import TranscriptEdited, WindowFinished
from web.http.serializers import progress_json, segments_json, task_json
from web.http.task_access import TaskAccess
from web.live.clients import NAMESPACE, Clients
from web.live.commands import Command, Unwatch, Watch
from web.live.members import ADMINS, Members, room_of_owner
from web.live.outbox import Batch, Outbox

if TYPE_CHECKING:
    from web.http.system_port import SystemPort

log = logging.getLogger(__name__)

ROUND_S = 0.1  # between two rounds, so a task's progress is sent at most this often
IDLE_ROUND_S = 1.0  # between two rounds at most, because clients have to be looked after too
MAX_OWNERS_KNOWN = 10_000  # tasks whose owner is remembered
MAX_WATCHED = 64  # tasks of one client
STOP_TIMEOUT_S = 5.0


class Broadcaster:
    """Sends what the outbox holds, round by round. Each task has a room, for the clients that watch it.

    Where there are accounts, every owner has a room, and the admins have one.
    """

    def __init__(self, server: Any, clients: Clients, members: Members, outbox: Outbox, system: SystemPort) -> None:
        """server: python-socketio's."""
        self._server = server
        self._clients = clients
        self._members = members
        self._owner_of = lru_cache(MAX_OWNERS_KNOWN)(system.ownership.owner_of)
        self._outbox = outbox
        self._system = system
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        self._outbox.close()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        while (batch := self._outbox.next_batch(IDLE_ROUND_S)) is not None:
            for step in self._steps(batch):
                try:
                    step()
                except Exception:
                    log.exception("event=live_step_failed")  # a fault with one client or task must not end the feed
            self._is_stopping.wait(ROUND_S)

    def _steps(self, batch: Batch) -> Iterable[Callable[[], None]]:
        yield self._clients.drop_unresponsive
        yield self._disconnect_ended
        if self._clients.count() == 0:
            return
        if batch.has_missed:
            yield self._emit_missed
        yield from (partial(self._execute, command) for command in batch.commands)
        yield from (partial(self._emit_windows, windows) for windows in batch.windows)
        yield from (partial(self._emit_task, task_id) for task_id in batch.changed)
        yield from (partial(self._emit_edited, edited) for edited in batch.edited)
        yield from (partial(self._emit_deleted, task_id, owner) for task_id, owner in batch.deleted)
        if batch.is_system_due:
            yield self._emit_system

    def _disconnect_ended(self) -> None:
        """Those who no longer may listen."""
        for sid in self._members.ended():
            self._members.remove(sid)
            self._server.disconnect(sid, namespace=NAMESPACE)

    # --- commands of clients ---------------------------------------------------------------------------------------

    def _execute(self, command: Command) -> None:
        if not self._server.manager.is_connected(command.sid, NAMESPACE):
            return
        match command:
            case Watch():
                self._watch(command)
            case Unwatch():
                self._server.leave_room(command.sid, _room(command.task_id), namespace=NAMESPACE)

    def _watch(self, command: Watch) -> None:
        """Sends the segments that the client has missed, if any, and from then on each new one."""
        room = _room(command.task_id)
        rooms = self._server.rooms(command.sid, namespace=NAMESPACE)  # the client's own is one of them
        if len(rooms) > MAX_WATCHED and room not in rooms:
            return
        self._server.enter_room(command.sid, room, namespace=NAMESPACE)
        try:
            missed = self._system.segments_from(command.task_id, command.first)
        except TaskNotFoundError:
            return
        if missed is not None:
            self._emit("segments", segments_json(missed), to=command.sid)

    # --- events ----------------------------------------------------------------------------------------------------

    def _emit_windows(self, windows: tuple[WindowFinished, ...]) -> None:
        """Windows of one task: the text of each to those who watch it, the progress after the last to who sees it."""
        for window in windows:
            if window.segments:
                self._emit("segments", segments_json(window), to=_room(window.task_id))
        try:
            rooms = self._rooms(lambda: self._owner_of(windows[-1].task_id))
        except TaskNotFoundError:
            return
        for room in rooms:
            self._emit("progress", progress_json(windows[-1]), to=room)

    def _emit_task(self, task_id: str) -> None:
        try:
            view = self._system.task(task_id)
        except TaskNotFoundError:
            return
        for room in self._rooms(lambda: view.task.owner):
            self._emit("task", task_json(view, shows_owner=room == ADMINS), to=room)

    def _emit_edited(self, edited: TranscriptEdited) -> None:
        """To those who watch the task."""
        data = {"id": edited.task_id, "version": edited.version, "author": edited.author}
        self._emit("transcript_edited", data, to=_room(edited.task_id))

    def _emit_deleted(self, task_id: str, owner: str) -> None:
        for room in self._rooms(lambda: owner):
            self._emit("deleted", {"id": task_id}, to=room)

    def _emit_missed(self) -> None:
        """To everybody: nobody can tell whose events they were."""
        self._emit("missed", {})

    def _emit_system(self) -> None:
        status = self._system.status()
        if not self._system.accounts.are_in_force():
            self._emit("system", status)
            return
        for room, principal in self._members.owners().items():
            self._emit("system", TaskAccess(self._system, principal).of_status(status), to=room)

    def _rooms(self, owner: Callable[[], str]) -> tuple[str | None, ...]:
        """Where a task of this owner is told of; None is everybody."""
        if not self._system.accounts.are_in_force():
            return (None,)
        return (room_of_owner(owner()), ADMINS)

    def _emit(self, event: str, data: dict[str, Any], to: str | None = None) -> None:
        self._server.emit(event, data, to=to, namespace=NAMESPACE)


def _room(task_id: str) -> str:
    """Made by the server, so no client can name another client's room."""
    return f"task:{task_id}"
