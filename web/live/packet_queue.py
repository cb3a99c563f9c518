"""What one Engine.IO session has to send: to the next poll, or straight to its WebSocket once it has one."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from typing import Any

from web.live.live_socket import MAX_QUEUED_FRAMES, LiveSocket, text_frame


class PacketQueue:
    """Stands in for the queue of Engine.IO's `async` driver. Any thread; `put` never waits.

    None is the session's end, after which nothing is sent.
    """

    def __init__(self) -> None:
        self._filled = threading.Condition()
        self._packets: deque[Any] = deque()
        self._socket: LiveSocket | None = None

    def attach(self, live_socket: LiveSocket) -> None:
        """From here on every packet goes to this socket, beginning with those that wait."""
        with self._filled:
            self._socket = live_socket
            while self._packets:
                _deliver(self._packets.popleft(), live_socket)

    def put(self, packet: Any) -> None:
        with self._filled:
            if self._socket is not None:
                _deliver(packet, self._socket)
            elif packet is None or len(self._packets) <= MAX_QUEUED_FRAMES:  # then the client is dropped anyway
                self._packets.append(packet)
                self._filled.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Raises queue.Empty."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._filled:
            while not self._packets:
                left = None if deadline is None else deadline - time.monotonic()
                if not block or (left is not None and left <= 0):
                    raise queue.Empty
                self._filled.wait(left)
            return self._packets.popleft()

    def qsize(self) -> int:
        return len(self._packets) if self._socket is None else self._socket.queued_frames

    def task_done(self) -> None:
        """Nothing waits for it, see `join`."""

    def join(self) -> None:
        """Engine.IO would wait here until a client has taken everything: for ever, if it has gone."""


class _Frames:
    """The latest packet's frame: an event for everybody is one packet, sent to each client."""

    def __init__(self) -> None:
        self._latest: tuple[Any, bytes] = (None, b"")

    def of(self, packet: Any) -> bytes:
        latest, frame = self._latest
        if latest is not packet:
            frame = text_frame(packet.encode())
            self._latest = (packet, frame)
        return frame


_frames = _Frames()


def _deliver(packet: Any, live_socket: LiveSocket) -> None:
    if packet is None:
        live_socket.close()
    else:
        live_socket.send(_frames.of(packet))
