"""What goes over the channel, and its socket.

The socket is the server's user's alone, in a folder that is that user's alone, and each end asks the kernel who the
other one is. A password in the same folder would prove nothing more.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from errors import TranscriptionServerError
from optimizer.leadership.codec import decode, encode
from version import __version__

SOCKET = "leader.sock"  # in the data folder
VERSION = __version__.encode()  # each message begins with it: what follows is read by the same version only
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


@dataclass(frozen=True)
class Call:
    """Answered with BEGUN, and then with a Result or a Failure."""

    name: str
    args: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Enter:
    """Enters a context, of which the Calls are that follow until Leave."""

    call: Call


@dataclass(frozen=True)
class Result:
    value: Any


@dataclass(frozen=True)
class Failure:
    """An error of ours. Its own fields are kept, whatever its constructor takes."""

    kind: type[TranscriptionServerError]
    message: str
    fields: dict[str, Any]

    @classmethod
    def of(cls, error: TranscriptionServerError) -> Failure:
        return cls(type(error), error.message, dict(vars(error)))

    def error(self) -> TranscriptionServerError:
        error = self.kind.__new__(self.kind)
        Exception.__init__(error, self.message)
        vars(error).update(self.fields)
        return error


@dataclass(frozen=True)
class Leave:
    """failure: what the block raised, if it was an error of ours. is_broken: it raised another one."""

    failure: Failure | None = None
    is_broken: bool = False


class OtherVersionError(Exception):
    """The other end is of another version, which this is the name of."""


BEGUN = "begun"  # what was asked is being done: without it, it was not and will not be


@dataclass(frozen=True)
class SentFile:
    """A file that a web process has received. is_stored: in the data folder, and not only hashed."""

    task_id: str
    size: int
    sha256: str
    is_stored: bool


@dataclass(frozen=True)
class SentPart:
    """What a web process needs to know of a resumable upload that is whole; see `WholePart`."""

    task_id: str
    size: int
    sha256: str
    details: dict[str, Any]
    key: str | None
    owner: str


@contextmanager
def socket_address(data_dir: Path) -> Iterator[str]:
    """Of the leader's socket, while the block lasts. By the folder's descriptor: an address has 107 bytes at most, and
    a path may have more."""
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)


def send(connection: Connection, message: object) -> None:
    """One thread at a time. Raises OSError, and TypeError for what cannot be sent; then nothing was."""
    text, blobs = encode(message)
    connection.send_bytes(b"%s %d " % (VERSION, len(blobs)) + text)
    for blob in blobs:
        connection.send_bytes(blob)


def receive(connection: Connection) -> Any:
    """Raises EOFError, OSError and OtherVersionError."""
    version, _, rest = connection.recv_bytes().partition(b" ")
    if version != VERSION:
        raise OtherVersionError(version[:20].decode(errors="replace"))
    count, _, text = rest.partition(b" ")
    return decode(text, [connection.recv_bytes() for _ in range(int(count))])


def connection_over(peer: socket.socket) -> Connection:
    """Raises PermissionError when another user is at the other end."""
    _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid != os.geteuid():
        peer.close()
        raise PermissionError(f"user {uid} is at the other end")
    peer.setblocking(True)
    return Connection(peer.detach())
