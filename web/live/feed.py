"""The live feed: Socket.IO rooms named by the server, and the one thread that emits.

python-socketio's emit is not safe from several threads, so handlers only put a note into the outbox, and so do the
system's listeners. Whoever is too slow or was away misses events and asks again; nothing waits for a client.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from flask import Flask, request
from flask_socketio import SocketIO

from errors import TaskNotFoundError, TranscriptionServerError, UnavailableError
from web.http import strict_json
from web.http.security import REQUEST_ID, SOCKET_PATH, error_body, is_own_origin
from web.http.serializers import progress_json, segments_json, task_json
from web.live.commands import read_unwatch, read_watch
from web.live.outbox import Batch, Outbox, Unwatch, Watch
from web.live.socket import MAX_MESSAGE_BYTES, PING_INTERVAL_S, PING_TIMEOUT_S, OpenSockets

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from web.http.system_port import SystemPort

log = logging.getLogger(__name__)

ROUND_S = 0.1  # at most one progress a task in this time
SWEEP_INTERVAL_S = 5.0
CONNECT_DEADLINE_S = 10.0  # for an Engine.IO session that never becomes a Socket.IO connection
MAX_QUEUED_PACKETS = 256  # of one client that does not read
MAX_WATCHED = 64
GOODBYE_TIMEOUT_S = 0.5
STOP_TIMEOUT_S = 5.0
NAMESPACE = "/"


class LiveFeed:
    """start and stop once, with the system."""

    def __init__(
        self,
        app: Flask,
        system: SystemPort,
        *,
        max_clients: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """max_clients: open sockets at most; each holds a server thread, so it must be well below their number."""
        self._system = system
        self._max_clients = max_clients
        self._monotonic = monotonic
        self._outbox = Outbox(monotonic)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._open_sockets = OpenSockets()
        self._first_seen: dict[str, float] = {}
        self._next_sweep = 0.0
        self.socketio = _make_socketio(app, self._open_sockets)
        self.socketio.on_event("watch", self._on_watch)
        self.socketio.on_event("unwatch", self._on_unwatch)
        self.socketio.on_error_default(_log_handler_error)
        self._server = self.socketio.server
        system.add_listener(self._outbox.note)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends every connection and the emitting thread."""
        self.say_goodbye()
        self._outbox.close()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def say_goodbye(self) -> None:
        """Takes no new clients, tells all that the server goes, and cuts those that do not answer. Any thread."""
        self._stopping.set()
        for session in self._sessions():
            session.close(wait=False)
        self._open_sockets.wait_until_none(GOODBYE_TIMEOUT_S)
        self._open_sockets.cut_all()

    def gate(self, application: WSGIApplication) -> WSGIApplication:
        """Refuses, before they cost a thread: connections above the limit, and JSONP, which any site can read."""

        def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if environ.get("PATH_INFO", "").startswith(SOCKET_PATH):
                query = parse_qs(environ.get("QUERY_STRING", ""))
                if "j" in query:
                    return _refuse(
                        environ, start_response, "400 Bad Request", "bad_request", "JSONP is not spoken here."
                    )
                if "sid" not in query and (self._stopping.is_set() or self._client_count() >= self._max_clients):
                    message = "As many pages are open as the server can tell the news to. It works without, too."
                    return _refuse(environ, start_response, "503 Service Unavailable", "too_many_clients", message)
            return application(environ, start_response)

        return guarded

    # --- what clients ask; server threads --------------------------------------------------------------------------

    def _on_watch(self, *payload: object) -> dict[str, Any]:
        try:
            task_id, first = read_watch(payload)
            watch = Watch(_sid(), task_id, first)
            self._system.task(watch.task_id)
        except TranscriptionServerError as error:
            return _refusal(error)
        return self._accept(watch)

    def _on_unwatch(self, *payload: object) -> dict[str, Any]:
        try:
            unwatch = Unwatch(_sid(), read_unwatch(payload))
        except TranscriptionServerError as error:
            return _refusal(error)
        return self._accept(unwatch)

    def _accept(self, command: Watch | Unwatch) -> dict[str, Any]:
        return {"ok": True} if self._outbox.try_command(command) else _refusal(UnavailableError())

    # --- the emitting thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._outbox.take(SWEEP_INTERVAL_S)) is not None:
            for step in self._steps(batch):
                try:
                    step()
                except Exception:
                    log.exception("event=live_step_failed")  # one client's or one task's fault must not end the feed
            self._stopping.wait(ROUND_S)

    def _steps(self, batch: Batch) -> Iterable[Callable[[], None]]:
        yield self._sweep
        if self._client_count() == 0:
            return
        yield from (lambda command=command: self._obey(command) for command in batch.commands)
        yield from (lambda windows=windows: self._emit_windows(windows) for windows in batch.windows)
        yield from (lambda task_id=task_id: self._emit_task(task_id) for task_id in batch.changed)
        yield from (lambda task_id=task_id: self._emit("deleted", {"id": task_id}) for task_id in batch.deleted)
        if batch.is_system_due:
            yield lambda: self._emit("system", self._system.status())

    def _obey(self, command: Watch | Unwatch) -> None:
        room = _room(command.task_id)
        if not self._server.manager.is_connected(command.sid, NAMESPACE):
            return
        if isinstance(command, Unwatch):
            self._server.leave_room(command.sid, room, namespace=NAMESPACE)
            return
        rooms = self._server.rooms(command.sid, namespace=NAMESPACE)  # its own is one of them
        if len(rooms) > MAX_WATCHED and room not in rooms:
            return
        self._server.enter_room(command.sid, room, namespace=NAMESPACE)
        try:
            missed = self._system.segments_from(command.task_id, command.first)
        except TaskNotFoundError:
            return
        if missed is not None:
            self._emit("segments", segments_json(missed), to=command.sid)

    def _emit_windows(self, windows: tuple[Any, ...]) -> None:
        for window in windows:
            if window.segments:
                self._emit("segments", segments_json(window), to=_room(window.task_id))
        self._emit("progress", progress_json(windows[-1]))

    def _emit_task(self, task_id: str) -> None:
        try:
            view = self._system.task(task_id)
        except TaskNotFoundError:
            return
        self._emit("task", task_json(view))

    def _emit(self, event: str, data: dict[str, Any], to: str | None = None) -> None:
        self._server.emit(event, data, to=to, namespace=NAMESPACE)

    def _sweep(self) -> None:
        """Drops clients that do not read, and every few seconds sessions that never said what they want."""
        for session in self._sessions():
            if session.queue.qsize() > MAX_QUEUED_PACKETS:
                self._drop(session, "does not read")
        now = self._monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_INTERVAL_S
        silent = {s.sid: s for s in self._sessions() if self._server.manager.sid_from_eio_sid(s.sid, NAMESPACE) is None}
        self._first_seen = {sid: self._first_seen.get(sid, now) for sid in silent}
        for sid, seen_at in self._first_seen.items():
            if now - seen_at > CONNECT_DEADLINE_S:
                self._drop(silent[sid], "never connected")

    def _drop(self, session: Any, reason: str) -> None:
        log.info("event=live_client_dropped reason=%r", reason)
        session.close(wait=False, abort=True)
        self._open_sockets.cut(session.sid)

    def _sessions(self) -> list[Any]:
        """Engine.IO keeps closed ones for a while under gunicorn; they do not count."""
        return [session for session in list(self._server.eio.sockets.values()) if not session.closed]

    def _client_count(self) -> int:
        return len(self._sessions())


def _make_socketio(app: Flask, open_sockets: OpenSockets) -> SocketIO:
    quiet = logging.getLogger("transcription.socketio")
    quiet.setLevel(logging.CRITICAL)  # it would log every bad request of every client as our error
    socketio = SocketIO(
        app,
        async_mode="threading",
        async_handlers=False,
        manage_session=False,
        json=strict_json,
        cors_allowed_origins=is_own_origin,
        cors_credentials=False,  # there are no cookies
        max_http_buffer_size=MAX_MESSAGE_BYTES,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        logger=quiet,
        engineio_logger=quiet,
    )
    engine = socketio.server.eio
    engine._async = {**engine._async, "websocket": open_sockets.make}  # its own has no limit on a message's size
    return socketio


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]  # Flask-SocketIO puts it there


def _room(task_id: str) -> str:
    return f"task:{task_id}"


def _refusal(error: TranscriptionServerError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "field": error.field}}


def _log_handler_error(error: Exception) -> dict[str, Any]:
    log.error("event=live_handler_failed", exc_info=error)
    return _refusal(TranscriptionServerError())


def _refuse(
    environ: WSGIEnvironment, start_response: StartResponse, status: str, code: str, message: str
) -> Iterable[bytes]:
    body = json.dumps(error_body(code, message, environ.get(REQUEST_ID, ""))).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if status.startswith("503"):
        headers.append(("Retry-After", str(UnavailableError.retry_after_s)))
    start_response(status, headers)
    return [body]
