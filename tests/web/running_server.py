"""A server process for one test, and the lines that it logged."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import psutil

from tests.leaks import outliving_tests
from tests.paths import ROOT
from tests.web import prefork
from tests.web.forked import ForkedProcess

START_LIMIT_S = 60.0
STOP_LIMIT_S = 60.0
# With LOG_FORMAT=text, and with json
LISTENING = re.compile(r"""(?:\[INFO\] |"message": ")listening on http://(?:127\.0\.0\.1|localhost):(\d+)""")


class RunningServer:
    """`with RunningServer(folder) as server:` waits until it listens. `server.wait()` gives its exit code.

    module, arguments: what runs, by default the server around a FakeSystem. env: settings above the process's own.
    """

    def __init__(
        self,
        folder: Path,
        mode: str = "",
        *,
        module: str = "tests.web.serve_fake",
        arguments: list[str] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.data_dir = folder / "data"
        own_arguments = [str(self.data_dir), mode] if arguments is None else arguments
        environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(ROOT), **(env or {})}
        # In a folder where no .env of a developer's lies.
        self._process: ForkedProcess | subprocess.Popen[bytes]
        if module in prefork.MODULES:
            self._process = ForkedProcess(module, own_arguments, folder, environment)
        else:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *own_arguments],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self.lines: list[str] = []
        self._unread: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = 0

    def __enter__(self) -> RunningServer:
        while (line := self._unread.get(timeout=START_LIMIT_S)) is not None:
            if found := LISTENING.search(line):
                self.port = int(found.group(1))
                return self
        self.wait()
        raise AssertionError("the server did not start:\n" + "".join(self.lines))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.send(signal.SIGTERM)
        self.wait()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def outliving_tests(self) -> AbstractContextManager[None]:
        """For a server that several tests share."""
        return outliving_tests(psutil.Process(self.pid))

    @property
    def worker(self) -> psutil.Process:
        (worker,) = psutil.Process(self._process.pid).children()
        return worker

    def send(self, signal_number: int) -> None:
        self._process.send_signal(signal_number)

    def wait(self) -> int:
        try:
            code = self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                child.kill()
            self._process.kill()
            raise
        finally:
            self._reader.join(STOP_LIMIT_S)
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for raw in output:
                line = raw.decode()
                self.lines.append(line)
                self._unread.put(line)
        self._unread.put(None)
