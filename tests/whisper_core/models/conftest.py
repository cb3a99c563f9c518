"""A server of weights, and a world in which `tiny` is small and nothing is fetched from outside."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.whisper_core.models.weights_server import CONTENT, WeightsServer
from whisper_core.models.catalogue import MODELS


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    server = WeightsServer([])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def toy_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy `tiny`, an empty cache of openai-whisper, no proxy, and a package index that is an empty folder."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    for name in ("tiny", "tiny-int8"):
        monkeypatch.setitem(MODELS, name, replace(MODELS[name], sha256=sha256, size_bytes=len(CONTENT)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (tmp_path / "index").mkdir()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"
