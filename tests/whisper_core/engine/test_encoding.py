"""Windows are encoded together, and a recording that fails does not affect the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.whisper_core.engine.driving import (
    GREEDY,
    Observer,
    alone_by_reference,
    assert_same,
    engine_with,
    run_until_idle,
    start_task,
    toy,
    write_samples,
)
from tests.whisper_core.parity import noise, short_toy
from whisper_core.audio.log_mel import LogMel
from whisper_core.audio.sample_file import SampleFile
from whisper_core.engine import batch_engine
from whisper_core.engine.network.encoder import WindowEncoder
from whisper_core.engine.pipeline import largest_power_of_two
from whisper_core.model_requests import DEFAULT_SETTINGS

LENGTHS_S = (4.0, 5.0, 6.0)
DETECTED = replace(GREEDY, language=None)


@pytest.fixture(autouse=True)
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the encoder's batches; as many windows at once as on a GPU."""
    sizes: list[int] = []
    encode = WindowEncoder.encode

    def counted(self: WindowEncoder, mels: torch.Tensor) -> Any:
        sizes.append(len(mels))
        return encode(self, mels)

    monkeypatch.setattr(WindowEncoder, "encode", counted)
    monkeypatch.setitem(batch_engine.ENCODER_BATCH, "cpu", 8)
    return sizes


@pytest.mark.parametrize(("count", "expected"), [(-1, 0), (0, 0), (1, 1), (3, 2), (4, 4), (7, 4), (9, 8)])
def test_batches_are_powers_of_two(count: int, expected: int) -> None:
    assert largest_power_of_two(count) == expected


def test_windows_that_wait_are_encoded_together(tmp_path: Path, batches: list[int]) -> None:
    model, observers = short_toy(7), [Observer() for _ in LENGTHS_S]
    with engine_with(model) as engine:
        for number, (seconds, observer) in enumerate(zip(LENGTHS_S, observers, strict=True)):
            start_task(engine, write_samples(tmp_path / f"{number}.pcm", noise(seconds)), GREEDY, observer)
        run_until_idle(engine)
    for seconds, observer in zip(LENGTHS_S, observers, strict=True):
        assert observer.transcript is not None
        assert_same(observer.transcript, alone_by_reference(model, noise(seconds), GREEDY, DEFAULT_SETTINGS))
    assert set(batches) <= {1, 2, 4, 8}


def test_samples_that_cannot_be_read_fail_their_own_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recording could be opened and measured, and its disk is gone when the window is wanted."""
    normalised = LogMel.normalised
    broken_samples = round(LENGTHS_S[1] * 16_000)

    def failing(self: LogMel, first: int) -> torch.Tensor:
        if isinstance(self.samples, SampleFile) and len(self.samples) == broken_samples:
            raise OSError("input/output error")
        return normalised(self, first)

    monkeypatch.setattr(LogMel, "normalised", failing)
    observers = [Observer() for _ in LENGTHS_S]
    with engine_with(short_toy(7)) as engine:
        for number, (seconds, observer) in enumerate(zip(LENGTHS_S, observers, strict=True)):
            start_task(engine, write_samples(tmp_path / f"{number}.pcm", noise(seconds)), GREEDY, observer)
        run_until_idle(engine)
    assert isinstance(observers[1].error, OSError)
    assert [observer.transcript is not None for observer in observers] == [True, False, True]


@pytest.mark.parametrize(("seconds", "encoded_again"), [(31.0, 0), (5.0, 1)])
def test_a_first_window_of_30_s_is_encoded_once_for_language_and_text(
    seconds: float, encoded_again: int, tmp_path: Path, batches: list[int]
) -> None:
    """A shorter one is followed by zeros, but for language detection by silence, as in openai-whisper."""
    observer = Observer()
    with engine_with(toy()) as engine:
        start_task(engine, write_samples(tmp_path / "long.pcm", noise(seconds)), DETECTED, observer)
        run_until_idle(engine)
    assert observer.transcript is not None
    assert_same(observer.transcript, alone_by_reference(toy(), noise(seconds), DETECTED, DEFAULT_SETTINGS))
    assert sum(batches) == len(observer.windows) + encoded_again
