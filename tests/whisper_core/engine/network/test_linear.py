"""Matrices in every layout multiply alike, and the encoder gets the one that was measured to be faster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network import linear
from whisper_core.engine.network.linear import Matrix, matrix_maker

ROWS, IN, OUT = 100, 384, 1536


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(OUT, IN, generator=torch.Generator().manual_seed(1)) * IN**-0.5


def measured(plain_s: float, packed_s: float) -> Callable[..., list[float]]:
    return lambda *_: [plain_s, packed_s]


@pytest.mark.parametrize("packed_s", [0.9, 1.1])
def test_the_encoder_s_product_is_the_same_in_either_layout(
    packed_s: float, weight: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "_fastest", measured(1.0, packed_s))
    bias, rows = torch.randn(OUT), torch.randn(ROWS, IN)
    matrix = matrix_maker(weight, ROWS)(weight, bias)
    expected = F.linear(rows, weight, bias)
    sum_ = torch.ones(ROWS, OUT)
    with torch.inference_mode():
        torch.testing.assert_close(matrix(rows), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(matrix(rows[:7]), expected[:7], rtol=1e-5, atol=1e-5)
        matrix.add_to(sum_, rows)
    torch.testing.assert_close(sum_, expected + 1.0, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("packed_s", "is_packed"), [(0.9, True), (0.99, False), (1.5, False)])
def test_the_encoder_is_packed_only_where_that_is_clearly_faster(
    packed_s: float, is_packed: bool, weight: Tensor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(linear, "_fastest", measured(1.0, packed_s))
    with caplog.at_level(logging.INFO):
        matrix = matrix_maker(weight, ROWS)(weight, torch.zeros(OUT))
    assert isinstance(matrix, linear._PackedMatrix) == is_packed
    assert f"packed={is_packed}" in caplog.text


def test_small_matrices_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_fastest", lambda *_: pytest.fail("measured"))
    small = torch.zeros(64, 16)
    assert isinstance(matrix_maker(small, ROWS)(small, torch.zeros(64)), linear._PlainMatrix)


def test_the_fastest_of_several_products_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    class Timed:
        def __init__(self, *seconds: float) -> None:
            self._seconds = iter(seconds)

        def __call__(self, x: Tensor) -> Tensor:
            clock[0] += next(self._seconds)
            return x

        def add_to(self, sum_: Tensor, x: Tensor) -> None:
            raise NotImplementedError

    products: list[Matrix] = [Timed(9, 4, 2, 4), Timed(1, 3, 3, 3)]
    assert linear._fastest(products, torch.zeros(1)) == [2, 1]
