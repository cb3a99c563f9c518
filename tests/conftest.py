"""What every room's tests share: recordings, weights, settings that read nothing from outside, and a clean end."""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from config import Settings
from tests.properties import load_profiles

load_profiles()

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(__file__).resolve().parent / "data"
MODELS_DIR = ROOT / "data" / "models"
SETTLE_S = 10.0


@pytest.fixture(scope="session")
def recordings() -> list[dict[str, Any]]:
    """The manifest's entries, each with its `path`."""
    entries: list[dict[str, Any]] = json.loads((DATA / "manifest.json").read_text())
    return [{**entry, "path": DATA / entry["file"]} for entry in entries]


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Where `make test` put tiny.en's weights; without them the test is skipped, except where CI must have them."""
    from whisper_core.models.weight_files import locate

    if locate("tiny.en", MODELS_DIR) is None:
        message = "tiny.en is not here: `make test` fetches it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return MODELS_DIR


@pytest.fixture
def make_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings from arguments alone, with everything under the test's own folder."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def make(**values: Any) -> Settings:
        own = {
            "data_dir": tmp_path / "data",
            "models_dir": tmp_path / "models",
            "min_free_disk_mb": 0,
            "devices": "cpu",
        }
        return Settings(_env_file=None, **{**own, **values})

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Reports travel between processes as UTF-8; what a test logged on purpose may not be."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Every test ends with the threads and child processes that it began with."""
    threads_before = set(threading.enumerate())
    children_before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    gc.collect()
    started = {thread for thread in threading.enumerate() if not thread.daemon} - threads_before
    for thread in started:
        thread.join(SETTLE_S)
    assert [thread.name for thread in started if thread.is_alive()] == []
    new = [child for child in psutil.Process().children(recursive=True) if child.pid not in children_before]
    _, alive = psutil.wait_procs([child for child in new if not _is_shared(child)], timeout=SETTLE_S)
    assert [child.name() for child in alive] == []


def _is_shared(child: psutil.Process) -> bool:
    """Processes of session-wide fixtures: the browser and multiprocessing's own helper."""
    try:
        command = " ".join(child.cmdline())
    except psutil.NoSuchProcess:
        return True
    return any(word in command for word in ("playwright", "chrom", "resource_tracker", "main.py", "worker_main"))
