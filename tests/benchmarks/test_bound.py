"""The arithmetic of the bound, against figures that were worked out elsewhere."""

from __future__ import annotations

import pytest

from benchmarks.bound import Rates, Work, measure, report
from whisper_core.models.catalogue import model_info

# The encoder without the cross-attention's projections, in GFLOP, and the decoder's matrices and one window's keys and
# values in fp16, in MB: from the models' dimensions.
KNOWN = {"tiny": (37, 56, 9.2), "base": (87, 97, 18.4), "small": (344, 278, 55), "large-v3": (2274, 1601, 246)}


@pytest.mark.parametrize("model", KNOWN)
def test_the_work_follows_from_a_model_s_dimensions(model: str) -> None:
    dims = model_info(model).dimensions
    work = Work.of(dims)
    encoder, matrices, window = KNOWN[model]
    cross = dims.n_text_layer * 2 * dims.n_audio_ctx * 2 * dims.n_text_state**2
    assert (work.products + work.attention - cross) / 1e9 == pytest.approx(encoder, rel=0.02)
    assert work.matrix_bytes / 2 / 1e6 == pytest.approx(matrices, rel=0.02)
    assert work.window_bytes / 2 / 1e6 == pytest.approx(window, rel=0.02)


def test_the_bound_is_the_sound_over_the_sum_of_the_parts() -> None:
    work = Work(products=10**9, attention=10**8, window_bytes=10**7, matrix_bytes=8 * 10**7)
    rates = Rates(products=10**10, attention=10**9, read_bytes=10**10)
    text = report(work, rates, seconds=20.0, tokens=100.0, rows=8)
    assert "| together | | | 400.0 |" in text  # 100 + 100 + 100 + 100 ms
    assert text.endswith("Bound with 20.0 s of sound a window: 50.0 × real time.")


def test_rates_are_measured() -> None:
    rates = measure(model_info("tiny").dimensions, cores=1)
    assert min(rates.products, rates.attention, rates.read_bytes) > 1e8
