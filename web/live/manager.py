"""python-socketio's rooms, safe to use from several threads, and sent to although one client is just closing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from engineio import packet as engine_packet
from engineio.exceptions import EngineIOError
from socketio import Manager
from socketio import packet as socket_packet


class LiveManager(Manager):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    def emit(self, event: str, data: Any, namespace: str, room: Any = None, **others: Any) -> None:
        """Encodes the event once. Upstream ends at the first client that has been closed in the meantime."""
        packet = self.server.packet_class(socket_packet.EVENT, namespace=namespace, data=[event, data])
        shared = engine_packet.Packet(engine_packet.MESSAGE, packet.encode())
        for _, session_id in self.get_participants(namespace, others.get("to") or room):
            try:
                self.server._send_eio_packet(session_id, shared)
            except EngineIOError:
                continue

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        with self._lock:
            return iter(list(super().get_participants(namespace, room)))

    def pre_connect(self, eio_sid: str, namespace: str) -> Any:
        with self._lock:
            return super().pre_connect(eio_sid, namespace)

    def connect(self, sid: str, namespace: str) -> Any:
        with self._lock:
            return super().connect(sid, namespace)

    def pre_disconnect(self, sid: str, namespace: str) -> Any:
        with self._lock:
            return super().pre_disconnect(sid, namespace)

    def disconnect(self, sid: str, namespace: str, **others: Any) -> Any:
        with self._lock:
            return super().disconnect(sid, namespace, **others)

    def enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> Any:
        with self._lock:
            return super().enter_room(sid, namespace, room, eio_sid)

    def leave_room(self, sid: str, namespace: str, room: Any) -> Any:
        with self._lock:
            return super().leave_room(sid, namespace, room)
