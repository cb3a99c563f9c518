"""The real server around an engine that computes nothing: `python -m benchmarks.load.noop_server`.

Settings come from the environment alone. The engine is the tests' own, eight tasks at once.
"""

from __future__ import annotations

import sys

from config import Settings, load_settings
from optimizer.devices.worker_process import WorkerConfig
from optimizer.system import OptimizedWhisperSystem
from web.server.gunicorn_app import serve

ENGINE = "tests.fake_engine:ParallelFakeEngine"


def make_system(settings: Settings) -> OptimizedWhisperSystem:
    return OptimizedWhisperSystem(settings, worker=WorkerConfig(ENGINE, cpu_threads=1))


if __name__ == "__main__":
    sys.exit(serve(load_settings(None), make_system))
