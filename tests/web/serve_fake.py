"""The real server around a FakeSystem: `python -m tests.web.serve_fake DATA_DIR [MODE]`, for tests that need a process.

MODE `cannot-start` and `crashes` make the system's start fail; `dies` ends the process while it starts. `impatient`
waits for clients, and for a sign of life of the web process, for about a second only, and describes the system in
300 KB. `broken` fails at every request for that. `settled` deals with what arrives at once, by the file's name: it is
transcribed, fails (`fails…`), runs on for ever (`runs…`) or waits (`waits…`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from config import Settings
from errors import DataFolderInUseError
from tests.web.fake_system import FakeSystem
from web.live import broadcaster, clients
from web.server import front, pace, worker_watch
from web.server.gunicorn_app import serve


class FailingSystem(FakeSystem):
    def start(self) -> None:
        raise DataFolderInUseError("The data folder is in use by process 4711.")


class CrashingSystem(FakeSystem):
    def start(self) -> None:
        raise RuntimeError("a mistake of ours")


class DyingSystem(FakeSystem):
    def start(self) -> None:
        os._exit(9)


class BrokenSystem(FakeSystem):
    def status(self) -> dict[str, Any]:
        raise RuntimeError("SECRET-OF-THE-TRACEBACK")


class VerboseSystem(FakeSystem):
    def status(self) -> dict[str, Any]:
        return {**super().status(), "advice": ["x" * 300_000]}


class SettledSystem(FakeSystem):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.when_pending = self._settle

    def _settle(self, task_id: str) -> None:
        name = self.task(task_id).task.filename
        if name.startswith("fails"):
            self.fail(task_id, "engine_error", "The transcription failed.")
        elif name.startswith("runs"):
            self.finish_window(task_id, " Spoken so far.")
        elif not name.startswith("waits"):
            self.complete(task_id, " The old clock struck", " and the cat left the mat", " by the old stove.")


SYSTEMS = {
    "": FakeSystem,
    "cannot-start": FailingSystem,
    "crashes": CrashingSystem,
    "dies": DyingSystem,
    "impatient": VerboseSystem,
    "broken": BrokenSystem,
    "settled": SettledSystem,
}


def be_impatient() -> None:
    pace.PATIENCE_S = front.HEAD_TIMEOUT_S = front.BODY_TIMEOUT_S = 1.0
    worker_watch.HANG_TIMEOUT_S = 2
    clients.CONNECT_DEADLINE_S = 1.0
    clients.SWEEP_INTERVAL_S = broadcaster.IDLE_ROUND_S = 0.5


def main() -> int:
    data_dir, mode = Path(sys.argv[1]), (sys.argv[2:] or [""])[0]
    if mode == "impatient":
        be_impatient()
    settings = Settings(_env_file=None, data_dir=data_dir, port=0, max_upload_mb=20, web_threads=16)
    return serve(settings, make_system=SYSTEMS[mode])


if __name__ == "__main__":
    sys.exit(main())
