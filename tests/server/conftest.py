"""Servers as processes of their own: the real program, with the real engine or with a fake one."""

from __future__ import annotations

import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.web.running_server import RunningServer

StartServer = Callable[..., RunningServer]


@pytest.fixture
def start_server(tmp_path: Path) -> StartServer:
    """Makes a server with the test's own folder, to be used as a context manager."""
    return partial(server_in, tmp_path)


def server_in(folder: Path, module: str = "tests.server.serve_fake_engine", **settings: str) -> RunningServer:
    models_dir = folder / "models"
    models_dir.mkdir(exist_ok=True)
    (models_dir / "tiny.en.pt").write_bytes(b"not read by the fake engine")
    env = {
        "PORT": "0",
        "DATA_DIR": str(folder / "data"),
        "MODELS_DIR": str(models_dir),
        "DEFAULT_MODEL": "tiny.en",
        "DEVICES": "cpu",
        "CPU_THREADS": "1",  # as in tests/conftest.py: other tests want the cores as well
        "MIN_FREE_DISK_MB": "0",
        "BATCH_SCHEDULE_INTERVAL": "0.5",
        **settings,
    }
    return RunningServer(folder, module=module, arguments=[], env=env)


@pytest.fixture(scope="session")
def five_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten windows."""
    return noise(tmp_path_factory.mktemp("sound") / "five.wav", minutes=5)


@pytest.fixture(scope="session")
def twenty_minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty windows."""
    return noise(tmp_path_factory.mktemp("sound") / "twenty.wav", minutes=20)


def noise(path: Path, minutes: int) -> Path:
    """Noise, with different samples in every window."""
    samples = np.random.default_rng(7).integers(-2000, 2000, size=minutes * 60 * 16_000, dtype=np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return path
