"""When the engine gives a GPU what: rounds of its own code, played in virtual time.

The costs are of the order of an NVIDIA H200's, as the published tables and the number of kernels let one expect; they
were not measured. So the figures here say how the engine schedules, not how fast a card is.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.whisper_core.engine.driving import (
    GREEDY,
    Observer,
    engine_with,
    run_until_idle,
    start_task,
    write_samples,
)
from tests.whisper_core.engine.virtual_gpu import DECODER, Costs, VirtualGpu, lower_bound, virtual_gpu, windows_a_step
from tests.whisper_core.parity import noise, short_toy
from whisper_core.common.units import WINDOW_SECONDS
from whisper_core.engine.batch_engine import BatchEngine

TURBO = Costs(step=0.15e-3, step_slot=9e-6, encoding=1e-3, encoding_window=4e-3)  # the encoder is the bottleneck
LARGE = Costs(step=0.9e-3, step_slot=65e-6, encoding=1e-3, encoding_window=4e-3)  # the decoder is
WINDOWS = 4  # of a task


class Tokens:
    """Of each window in turn: 100 on average."""

    def __init__(self) -> None:
        self._dice = Random(1)
        self.used: list[int] = []

    def __call__(self) -> int:
        self.used.append(self._dice.randint(60, 140))
        return self.used[-1]


def play(costs: Costs, tasks: int, folder: Path, slots: int = 64) -> tuple[VirtualGpu, list[int]]:
    """All tasks at once. Also the tokens of all windows."""
    tokens = Tokens()
    path = write_samples(folder / "recording.pcm", noise(WINDOWS * WINDOW_SECONDS))
    with virtual_gpu(costs, tokens, slots) as gpu, engine_with(short_toy(1, n_text_ctx=448), slots=slots) as engine:
        observers = [Observer() for _ in range(tasks)]
        for observer in observers:
            start_task(engine, path, GREEDY, observer)
        run_until_idle(engine)
    assert all(observer.transcript is not None for observer in observers)
    return gpu, tokens.used


@pytest.mark.parametrize(
    ("costs", "tasks", "at_most"),
    [(TURBO, 1, 1.5), (TURBO, 16, 1.25), (TURBO, 64, 1.1), (LARGE, 1, 1.15), (LARGE, 16, 1.35), (LARGE, 64, 1.3)],
)
def test_the_busier_lane_is_kept_busy(costs: Costs, tasks: int, at_most: float, tmp_path: Path) -> None:
    """at_most: of the time that full passes one behind the other would take. The rest is where it begins and ends."""
    gpu, tokens = play(costs, tasks, tmp_path)
    assert len(tokens) == WINDOWS * tasks
    assert gpu.now < at_most * lower_bound(costs, tasks, tokens)
    assert gpu.idle < 0.05


def test_windows_are_decoded_together_although_the_encoder_is_the_bottleneck(tmp_path: Path) -> None:
    """A step of few windows takes from the encoder nearly what one of many takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchEngine, "_should_wait_for_windows", lambda engine, num_decoding: False)
        eager, _ = play(TURBO, 64, tmp_path)
    patient, _ = play(TURBO, 64, tmp_path)
    assert patient.now < 1.01 * eager.now
    assert windows_a_step(patient) > 2 * windows_a_step(eager)
    assert sum_of(patient) < 0.8 * sum_of(eager)


def sum_of(gpu: VirtualGpu) -> float:
    """Seconds that the decoder's lane was at work."""
    return sum(end - start for start, end in gpu.lanes[DECODER].busy)


def test_sixty_windows_that_end_at_once_do_not_stop_the_steps(tmp_path: Path) -> None:
    """They are answered a few at a time, while the GPU goes on."""
    path = write_samples(tmp_path / "recording.pcm", noise(WINDOWS * WINDOW_SECONDS))
    with virtual_gpu(LARGE, lambda: 100) as gpu, engine_with(short_toy(1, n_text_ctx=448), slots=64) as engine:
        for _ in range(60):
            start_task(engine, path, GREEDY, Observer())
        run_until_idle(engine)
    full = [moment for moment, windows in zip(gpu.step_times, gpu.step_sizes, strict=True) if windows > 50]
    assert len(full) > 100
    step = LARGE.step + 64 * LARGE.step_slot
    assert max(later - earlier for earlier, later in pairwise(full)) < step + 10 * LARGE.window_end
