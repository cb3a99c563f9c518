"""The real server around a FakeSystem: `python -m tests.web.serve_fake DATA_DIR [MODE]`, for tests that need a process.

MODE `cannot-start` and `crashes` make the system's start fail; `dies` ends the process while it starts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from config import Settings
from errors import DataFolderInUseError
from tests.web.fake_system import FakeSystem
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


SYSTEMS = {"": FakeSystem, "cannot-start": FailingSystem, "crashes": CrashingSystem, "dies": DyingSystem}


def main() -> int:
    data_dir, mode = Path(sys.argv[1]), (sys.argv[2:] or [""])[0]
    settings = Settings(_env_file=None, data_dir=data_dir, port=0, max_upload_mb=20, web_threads=16)
    return serve(settings, make_system=SYSTEMS[mode])


if __name__ == "__main__":
    sys.exit(main())
