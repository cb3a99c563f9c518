"""A server of weights, and a world in which `tiny` is small and nothing is fetched from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.whisper_core.models.weights_server import WeightsServer, become_toy_tiny, running_weights_server


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    with running_weights_server() as server:
        yield server


@pytest.fixture
def toy_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become_toy_tiny(tmp_path, monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"
