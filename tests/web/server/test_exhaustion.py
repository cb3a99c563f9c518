"""Nothing left: no descriptors, no reader of the log, and a web process that does nothing any more."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.paths import ROOT
from tests.web.raw_client import RawClient
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

LIMIT_S = 60.0
FEW_FILES = 128


def status_of(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.proves("F46")
def test_a_server_out_of_descriptors_goes_on(tmp_path: Path) -> None:
    """It raises its soft limit to the hard one. With few files, silent connections make room for those that ask; with
    none at all it waits, and goes on once there are some."""
    with RunningServer(tmp_path) as server:
        soft, hard = server.worker.rlimit(resource.RLIMIT_NOFILE)
        assert soft == min(hard, 65_536) or hard == resource.RLIM_INFINITY
        server.worker.rlimit(resource.RLIMIT_NOFILE, (FEW_FILES, FEW_FILES))
        with ExitStack() as stack:
            for _ in range(2 * FEW_FILES):
                stack.enter_context(RawClient(server.port))
            assert status_of(server.port) == 200
            used = server.worker.num_fds()
            server.worker.rlimit(resource.RLIMIT_NOFILE, (used - 40, FEW_FILES))
            assert status_of(server.port) == 200  # by closing one that is silent
        server.worker.rlimit(resource.RLIMIT_NOFILE, (3, FEW_FILES))
        with RawClient(server.port) as waiting:
            waiting.request("GET /healthz HTTP/1.1")
            while not any("event=connection_refused" in line for line in server.lines):
                assert waiting.is_untouched()
            server.worker.rlimit(resource.RLIMIT_NOFILE, (FEW_FILES, FEW_FILES))
            assert waiting.answer().status == 200
    assert not [line for line in server.lines if "Traceback" in line]


@pytest.mark.proves("F48")
def test_a_closed_log_disturbs_nothing(tmp_path: Path) -> None:
    """Whoever read standard output has gone; a full disk fails in the same call."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.web.serve_fake", str(tmp_path / "data"), "broken"],
        cwd=tmp_path,
        stdout=writer,
        stderr=subprocess.STDOUT,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )
    os.close(writer)
    try:
        with os.fdopen(reader, "rb", buffering=0) as log:
            text = b""
            while b"listening on" not in text:
                piece = log.read(4096)
                assert piece, text
                text += piece
            text += b"" if text.endswith(b"\n") else log.read(200)
        port = int(text.partition(b"http://127.0.0.1:")[2].split()[0])
        for _ in range(3):
            with RawClient(port) as client:
                client.request("GET /api/system HTTP/1.1")  # fails, and logs a traceback
                assert client.answer().status == 500
        assert status_of(port) == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def test_a_hung_worker_is_replaced(tmp_path: Path) -> None:
    """Stopped as a whole, as by a debugger or a fault in native code. The usual time-out is 15 s, here it is 2."""
    with RunningServer(tmp_path, "impatient") as server:
        old = server.worker
        old.suspend()
        psutil.wait_procs([old], timeout=LIMIT_S)
        assert not old.is_running()
        assert status_of(server.port) == 200
        assert server.worker.pid != old.pid
