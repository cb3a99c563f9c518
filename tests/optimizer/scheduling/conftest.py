"""A scheduler at work on one device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.scheduling import loop, storage_retry
from tests.optimizer.scheduling.rig import Rig, running_rig


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PAUSE_AFTER_ERROR_S", 0.0)
    monkeypatch.setattr(storage_retry, "PAUSES_S", (0.0,))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """With the CPU as its one device, which is ready."""
    with running_rig(tmp_path) as made:
        made.worker().ready()
        yield made
