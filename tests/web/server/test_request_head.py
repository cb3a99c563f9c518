"""What the front makes of the first bytes of a request."""

from __future__ import annotations

import pytest

from web.server.request_head import MAX_HEAD_BYTES, MAX_LINE_BYTES, HeadTooLongError, Lane, read_head


def lane_of(text: str) -> Lane:
    head = read_head(bytearray(text.replace("\n", "\r\n").encode() + b"\r\n\r\n"))
    assert head is not None
    return head.lane


@pytest.mark.parametrize("received", [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n"])
def test_an_unfinished_head_is_waited_for(received: bytes) -> None:
    assert read_head(bytearray(received)) is None


@pytest.mark.parametrize(
    "received", [b"get / HTTP/1.1\r\n", b"\x16\x03\x01\r\n", b"GET /\n", b"GET / HTTP/1.1\r\nHost: x\n"]
)
def test_what_can_never_become_a_request_is_not_waited_for(received: bytes) -> None:
    head = read_head(bytearray(received))
    assert head is not None
    assert head.nbytes == len(received)


def test_a_small_body_belongs_to_what_is_waited_for() -> None:
    text = b"POST /api/tasks/x/cancel HTTP/1.1\r\nContent-Length: 7\r\n\r\n"
    head = read_head(bytearray(text))
    assert head is not None
    assert (head.lane, head.nbytes) == (Lane.CHANGE, len(text) + 7)


@pytest.mark.parametrize(
    ("text", "lane"),
    [
        ("GET / HTTP/1.1", Lane.READ),
        ("HEAD /api/tasks?limit=5 HTTP/1.1", Lane.READ),
        ("GET /healthz HTTP/1.1", Lane.PROBE),
        ("GET /readyz HTTP/1.1", Lane.PROBE),
        ("GET /api/tasks/01X/media?download=true HTTP/1.1", Lane.DOWNLOAD),
        ("GET /api/tasks/01X/%6dedia HTTP/1.1", Lane.DOWNLOAD),
        ("GET http://localhost/api/tasks/01X/media HTTP/1.1", Lane.DOWNLOAD),
        ("GET /api/tasks/01X/waveform HTTP/1.1", Lane.DOWNLOAD),
        ("POST /api/transcripts.zip HTTP/1.1\nContent-Length: 20", Lane.DOWNLOAD),
        ("DELETE /api/tasks/01X HTTP/1.1", Lane.CHANGE),
        ("POST /api/tasks HTTP/1.1\nContent-Length: 65536", Lane.UPLOAD),
        ("POST /api/tasks HTTP/1.1\nContent-Length: 200", Lane.UPLOAD),
        ("DELETE /api/tasks HTTP/1.1", Lane.CHANGE),
        ("POST /api/tasks HTTP/1.1\nContent-Length: 65537", Lane.UPLOAD),
        ("POST /api/tasks HTTP/1.1\ntransfer-encoding: chunked", Lane.UPLOAD),
        ("POST /api/tasks HTTP/1.1\nContent-Length: 5\nExpect: 100-continue", Lane.UPLOAD),
        ("GET /healthz HTTP/1.1\nContent-Length: 99999", Lane.UPLOAD),
        ("POST /v1/audio/transcriptions HTTP/1.1\nContent-Length: 5", Lane.WAIT),
        ("POST /v1/audio/transcriptions HTTP/1.1\nContent-Length: 99999", Lane.WAIT),
        ("GET /v1/audio/transcriptions HTTP/1.1", Lane.READ),
        ("POST /asr?output=srt&encode=false HTTP/1.1\nContent-Length: 99999", Lane.WAIT),
        ("POST /detect-language HTTP/1.1\nTransfer-Encoding: chunked", Lane.WAIT),
        ("POST /asr/x HTTP/1.1", Lane.CHANGE),
        ("POST /inference HTTP/1.1\nContent-Length: 5", Lane.WAIT),
        ("POST HTTP://localhost/inference HTTP/1.1", Lane.WAIT),
        ("POST web+a://localhost/%61sr?x#y HTTP/1.1", Lane.WAIT),
        ("POST http://[x/asr HTTP/1.1", Lane.CHANGE),
        ("GET HTTPS://localhost/api/tasks/01X/media HTTP/1.1", Lane.DOWNLOAD),
        ("POST /api/tasks/01X/track HTTP/1.1\nContent-Length: 5", Lane.UPLOAD),
        ("POST /api/tasks/01X/again HTTP/1.1\nContent-Length: 5", Lane.UPLOAD),
        ("POST /api/tasks/01X/edits/retranscribe HTTP/1.1\nContent-Length: 5", Lane.UPLOAD),
        ("POST /api/tasks/01X/edits HTTP/1.1\nContent-Length: 5", Lane.CHANGE),
        ("POST /api/tasks/01X/speakers HTTP/1.1\nContent-Length: 5", Lane.UPLOAD),
        ("POST /api/tasks/01X/retry HTTP/1.1", Lane.CHANGE),
    ],
)
def test_each_request_has_its_lane(text: str, lane: Lane) -> None:
    assert lane_of(text) is lane


def test_the_line_and_the_head_have_limits() -> None:
    with pytest.raises(HeadTooLongError) as of_line:
        read_head(bytearray(b"GET /" + b"x" * MAX_LINE_BYTES))
    with pytest.raises(HeadTooLongError) as of_head:
        read_head(bytearray(b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES))
    assert (of_line.value.is_line, of_head.value.is_line) == (True, False)
