"""A client's connection as the server's threads see it: it waits at the client's pace, and only as long as Pace allows.

In the kernel it never blocks, so the front can use it as well.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time
from typing import Any

from web.server.pace import Pace

LOOK_AGAIN_S = 2.0  # while waiting, to see what the client has taken in the meantime
PIECE_BYTES = 256 * 1024
MAX_DEFERRED_BYTES = 128_000_000  # of all connections together
_GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR  # macOS has only the last two
READER_PATIENCE_S = 5.0  # of an answer that should be deferred, once there is no room for that


class DeferredBytes:
    """How much of their answers all clients together have not taken yet. Any thread."""

    def __init__(self, limit: int = MAX_DEFERRED_BYTES) -> None:
        self._limit = limit
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        return self._used

    def try_reserve(self, nbytes: int) -> bool:
        with self._lock:
            if self._used + nbytes > self._limit:
                return False
            self._used += nbytes
            return True

    def release(self, nbytes: int) -> None:
        with self._lock:
            self._used -= nbytes


class ClientSocket(socket.socket):
    """incoming, outgoing: what the client may still keep us waiting for. Replaced to wait more or less patiently.

    is_deferring: what the client does not take at once is kept, for the front to send, so that no thread waits for it.
    """

    def __init__(self, accepted: socket.socket, deferred: DeferredBytes) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self.setblocking(False)
        self.incoming, self.outgoing = Pace(), Pace()
        self.is_deferring = False
        self._deferred = deferred
        self._unsent = bytearray()
        self._sent_bytes = 0
        self._taken_bytes = 0

    # --- the front; never waits ------------------------------------------------------------------------------------

    def receive_now(self, size: int) -> bytes:
        """b"" at the end. Raises BlockingIOError when there is nothing yet."""
        return super().recv(size)

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def send_unsent_now(self) -> None:
        """As much as the client takes."""
        with memoryview(self._unsent) as unsent, unsent[:PIECE_BYTES] as piece:
            sent = self._send_now(piece)
        self._forget_unsent(sent)

    def send_or_keep(self, data: bytes) -> None:
        """Keeps what the client does not take. Raises BlockingIOError when there is no room for that."""
        rest = data[self._send_now(memoryview(data)) :]
        if rest:
            if not self._deferred.try_reserve(len(rest)):
                raise BlockingIOError(errno.EAGAIN, "too much is kept for other clients")
            self._unsent += rest

    def record_waiting(self, waited_s: float) -> None:
        """For an answer that the front sends: charges the client's time, less what it has taken."""
        self.outgoing.record(waited_s, self._newly_taken())

    def close(self) -> None:
        self._forget_unsent(len(self._unsent))
        super().close()

    def break_off(self) -> None:
        """Ends the wait of the thread that has the socket."""
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the client has gone, or the socket belongs to somebody else

    def reset(self) -> None:
        """Closes it, and throws away what the kernel still holds for the client."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    # --- the server's threads; what gunicorn calls -----------------------------------------------------------------

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        while True:
            try:
                data = super().recv(size, flags)
            except BlockingIOError:
                self._wait(select.POLLIN, self.incoming)
                continue
            self.incoming.record(0, len(data))
            return data

    def send(self, data: Any, flags: int = 0, /) -> int:
        self.sendall(data, flags)
        return len(data)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        rest = memoryview(data)
        if not self._unsent:
            rest = rest[self._send_now(rest) :]
        if rest and self.is_deferring and self._deferred.try_reserve(len(rest)):
            self._unsent += rest
            return
        self._send_patiently(rest)

    def is_abandoned(self) -> bool:
        """Whether the client has hung up: nobody is left to send anything. Never waits and takes no byte."""
        looking = select.poll()
        looking.register(self.fileno(), _GONE)
        return bool(looking.poll(0))

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Of `count` bytes, which gunicorn always names."""
        end = offset + (count or 0)
        while offset < end:
            size = min(end - offset, PIECE_BYTES)
            if self.is_deferring:
                piece = os.pread(file.fileno(), size, offset)
                self.sendall(piece)
                sent = len(piece)
            else:
                sent = self._send_file_piece(file.fileno(), offset, size)
            if sent == 0:
                raise ConnectionResetError(errno.ECONNRESET, "the file has become shorter")
            offset += sent
        return count or 0

    def _send_file_piece(self, file: int, offset: int, size: int) -> int:
        while True:
            try:
                sent = os.sendfile(self.fileno(), file, offset, size)
            except BlockingIOError:
                self._wait(select.POLLOUT, self.outgoing)
                continue
            self._sent_bytes += sent
            return sent

    def _send_patiently(self, rest: memoryview) -> None:
        while self._unsent:
            self._wait(select.POLLOUT, self.outgoing)
            self.send_unsent_now()
        while rest:
            rest = rest[self._send_now(rest) :]
            if rest:
                self._wait(select.POLLOUT, self.outgoing)

    def _send_now(self, data: memoryview) -> int:
        try:
            sent = super().send(data)
        except BlockingIOError:
            return 0
        self._sent_bytes += sent
        return sent

    def _forget_unsent(self, nbytes: int) -> None:
        del self._unsent[:nbytes]
        self._deferred.release(nbytes)

    def _wait(self, event: int, pace: Pace) -> None:
        """Until the client moves. Raises TimeoutError with an error number that gunicorn takes for a lost client."""
        if pace.is_used_up:
            raise TimeoutError(errno.ECONNRESET, "the client is too slow")
        begun = time.monotonic()
        waiting = select.poll()
        waiting.register(self.fileno(), event)
        waiting.poll(1000 * min(pace.seconds_left, LOOK_AGAIN_S))
        is_sending = event == select.POLLOUT
        pace.record(time.monotonic() - begun, self._newly_taken() if is_sending else 0)

    def _newly_taken(self) -> int:
        """Bytes that have reached the client since the last call.

        The kernel's queue is subtracted: it is several megabytes long and reports free room only in large steps, so a
        client that reads slowly and steadily would look like one that does not read at all.
        """
        taken = self._sent_bytes - _queued_bytes(self.fileno())
        newly, self._taken_bytes = taken - self._taken_bytes, taken
        return max(0, newly)


def _queued_bytes(descriptor: int) -> int:
    """What the kernel holds for a peer that has not acknowledged it."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0
