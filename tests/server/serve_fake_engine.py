"""The real server with a fake engine in its device's process: `python -m tests.server.serve_fake_engine`.

Settings come from the environment alone. TEST_DECODE_WAIT_S: how long an upload waits for what is found in its file.
"""

from __future__ import annotations

import os
import sys

from config import Settings, load_settings
from optimizer.devices.worker_process import WorkerConfig
from optimizer.intake import task_intake
from optimizer.system import OptimizedWhisperSystem
from web.server.gunicorn_app import serve


def make_system(settings: Settings) -> OptimizedWhisperSystem:
    worker = WorkerConfig("tests.fake_engine:FakeEngine", cpu_threads=1)
    return OptimizedWhisperSystem(settings, worker=worker)


if __name__ == "__main__":
    task_intake.DECODE_WAIT_S = float(os.environ.get("TEST_DECODE_WAIT_S", task_intake.DECODE_WAIT_S))
    sys.exit(serve(load_settings(None), make_system))
