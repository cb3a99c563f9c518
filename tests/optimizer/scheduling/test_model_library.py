"""Fetching models in the background: who is told how often, and what a stop waits for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from errors import ModelUnavailableError
from optimizer.scheduling.model_library import PROGRESS_EVERY_S, ModelLibrary
from tests.optimizer.fakes import FakeClock
from tests.whisper_core.brought_folders import write_folder
from whisper_core.models import fetch as models
from whisper_core.models.download import FetchProgress
from whisper_core.models.registry import ModelRegistry


def test_progress_is_told_at_a_bounded_rate_and_the_end_always(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, told, is_over = FakeClock(), [], threading.Event()

    def fetch(name: str, models_dir: Path, *, on_progress: models.OnProgress, **_: object) -> None:
        for done in range(1000):
            on_progress(FetchProgress("official", done, 1000))
            clock.advance(PROGRESS_EVERY_S / 100)

    def on_change() -> None:
        told.append(library.fetching())
        if not told[-1]:
            is_over.set()

    monkeypatch.setattr(models, "fetch", fetch)
    monkeypatch.setattr("optimizer.scheduling.model_library.locate", lambda *_: None)
    library = ModelLibrary(tmp_path, "all", clock, on_change)
    library.fetch_if_missing("tiny.en")
    assert is_over.wait(10)
    library.stop()
    assert 10 <= len(told) <= 13
    assert told[-1] == {}


def test_one_fetch_serves_all_models_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched, has_progressed, may_end = [], threading.Event(), threading.Event()

    def fetch(name: str, models_dir: Path, *, on_progress: models.OnProgress, **_: object) -> None:
        fetched.append(name)
        on_progress(FetchProgress("official", 30, 100))
        has_progressed.set()
        may_end.wait(10)
        raise ModelUnavailableError("It is not there.")

    monkeypatch.setattr(models, "fetch", fetch)
    monkeypatch.setattr("optimizer.scheduling.model_library.locate", lambda *_: None)
    library = ModelLibrary(tmp_path, "all", FakeClock(), lambda: None)
    library.fetch_if_missing("base-int8")
    assert has_progressed.wait(10)
    library.fetch_if_missing("base", now=True)
    assert library.fetching() == {"base": (30, 100)}
    assert [library.model_view(name).fetch_fraction for name in ("base", "base-int8", "tiny")] == [0.3, 0.3, None]

    may_end.set()
    library.stop()
    assert fetched == ["base"]
    messages = [library.model_view(name).failed_message for name in ("base", "base-int8", "tiny")]
    assert messages == ["It is not there.", "It is not there.", None]


def test_a_brought_model_is_here_until_its_folder_is_gone_and_is_never_fetched(tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path, "all", FakeClock(), lambda: None, ModelRegistry(tmp_path))
    assert not library.is_available("mine-int8")
    folder = write_folder(tmp_path / "mine")
    assert library.model_view("mine-int8").is_available
    folder.rename(tmp_path / ".aside")
    view = library.model_view("mine-int8")
    assert (view.is_available, view.fetch_fraction) == (False, None)
    assert "not in MODELS_DIR" in (view.failed_message or "")
    library.fetch_if_missing("mine-int8", now=True)
    assert library.fetching() == {}
