"""The real server with a fake engine in its device's process: `python -m tests.server.serve_fake_engine`.

Settings come from the environment alone.
"""

from __future__ import annotations

import sys

from config import Settings, load_settings
from optimizer.devices.worker_process import WorkerConfig
from optimizer.system import OptimizedWhisperSystem
from web.server.gunicorn_app import serve


def make_system(settings: Settings) -> OptimizedWhisperSystem:
    worker = WorkerConfig("tests.fake_engine:FakeEngine", cpu_threads=1)
    return OptimizedWhisperSystem(settings, worker=worker)


if __name__ == "__main__":
    sys.exit(serve(load_settings(None), make_system))
