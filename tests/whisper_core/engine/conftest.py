"""Engines whose encoder and decoder take turns."""

from __future__ import annotations

import pytest

from tests.whisper_core.engine.driving import SlowExecutor
from whisper_core.engine import batch_engine


@pytest.fixture
def slow_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """One window a round, so that the slots in use do not depend on the timing of threads."""
    monkeypatch.setattr(batch_engine, "SerialExecutor", SlowExecutor)
    monkeypatch.setitem(batch_engine.FEW_ROWS, "cpu", 0)
