"""What the front has to know of a request: where its head ends, how long its body is, and who should answer it.

gunicorn's parser decides what a request means. A mistake here could only give it the wrong lane, never another meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote_to_bytes

from gunicorn.util import split_request_uri

MAX_LINE_BYTES = 16_384
MAX_HEAD_BYTES = 32_768
MAX_SMALL_BODY_BYTES = 64 * 1024  # awaited without a thread

_END = b"\r\n\r\n"
_LINE = re.compile(rb"[A-Z][A-Z-]{0,19} (\S+) HTTP/\d\.\d")
_DOWNLOAD = re.compile(rb"/api/(tasks/[^/]+/(media|waveform)|transcripts\.zip)|/s/[^/]+/media")
_WAITING = re.compile(rb"/v1/audio/[^/]+|/asr|/detect-language|/inference")  # the answer comes when the task is done
# They copy a recording, or fetch one from another server.
_COPYING = re.compile(rb"/api/tasks(/[^/]+/(track|again|speakers|edits/retranscribe))?")
_PROBES = frozenset({b"/healthz", b"/readyz"})
_READS = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Lane(Enum):
    """Requests of one lane wait for each other only."""

    PROBE = "probe"  # is the process alive, is the work done? Reads may wait for a leader, these do not
    READ = "read"  # the page and everything that only reads
    CHANGE = "change"  # the rest, with a body that is here already
    UPLOAD = "upload"  # a body that has to be waited for, or a recording that is copied or fetched
    DOWNLOAD = "download"  # an answer that is as long as a file
    WAIT = "wait"  # an answer that comes when a task is done; its body may be long, too


class HeadTooLongError(Exception):
    def __init__(self, *, is_line: bool) -> None:
        super().__init__()
        self.is_line = is_line


@dataclass(frozen=True)
class RequestHead:
    lane: Lane
    nbytes: int  # of the head and of a body that is awaited before a thread takes the request
    path: str = field(default="", compare=False)


def read_head(received: bytearray) -> RequestHead | None:
    """None until the head is complete. One that cannot be a request counts as complete: gunicorn says what is wrong.

    Raises HeadTooLongError.
    """
    start = 2 if received.startswith(b"\r\n") else 0  # RFC 9112, 2.2: one empty line before a request is ignored
    line_end = received.find(b"\r\n", start)
    if (line_end if line_end >= 0 else len(received)) > MAX_LINE_BYTES:
        raise HeadTooLongError(is_line=True)
    if line_end < 0:
        return _unreadable(received) if b"\n" in received[start:] else None
    line = _LINE.fullmatch(received, start, line_end)
    if line is None:
        return _unreadable(received)
    end = received.find(_END, line_end)
    if (end if end >= 0 else len(received)) > MAX_HEAD_BYTES:
        raise HeadTooLongError(is_line=False)
    if end < 0:
        return _unreadable(received) if received.count(b"\n") != received.count(b"\r\n") else None
    fields = _fields(bytes(received[line_end + 2 : end]))
    return _routed(bytes(received[start:line_end]).split(b" "), fields, end + len(_END))


def _unreadable(received: bytearray) -> RequestHead:
    return RequestHead(Lane.CHANGE, len(received))


def _routed(line: list[bytes], fields: dict[bytes, bytes], head_bytes: int) -> RequestHead:
    method, path = line[0], _path_of(line[1])
    length = fields.get(b"content-length", b"0")
    body_bytes = int(length) if length.isdigit() and len(length) < 20 else 0
    lane, name = _lane_of(method, path), path.decode(errors="replace")
    if b"transfer-encoding" in fields or b"expect" in fields or body_bytes > MAX_SMALL_BODY_BYTES:
        return RequestHead(lane if lane is Lane.WAIT else Lane.UPLOAD, head_bytes, name)
    return RequestHead(lane, head_bytes + body_bytes, name)


def _lane_of(method: bytes, path: bytes) -> Lane:
    if path in _PROBES:
        return Lane.PROBE
    if _DOWNLOAD.fullmatch(path):
        return Lane.DOWNLOAD
    if method in _READS:
        return Lane.READ
    if method == b"POST" and _COPYING.fullmatch(path):
        return Lane.UPLOAD
    return Lane.WAIT if _WAITING.fullmatch(path) else Lane.CHANGE


def _path_of(target: bytes) -> bytes:
    """As gunicorn reads it, so that no spelling of an address is in another lane than the address."""
    try:
        path: str = split_request_uri(target.decode("latin-1")).path
    except ValueError:
        return b""  # gunicorn refuses it
    return unquote_to_bytes(path.encode("latin-1"))


def _fields(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n"))
    return {name.lower(): value.strip() for name, _, value in pairs}
