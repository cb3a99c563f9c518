"""Matrices in every layout multiply alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.linear import MakeMatrix, PackedMatrix, PlainMatrix, linear

ROWS, IN, OUT = 100, 384, 1536


def packed(weight: Tensor, bias: Tensor) -> PackedMatrix:
    return PackedMatrix.of(ROWS, weight, bias)


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(OUT, IN, generator=torch.Generator().manual_seed(1)) * IN**-0.5


@pytest.mark.parametrize("make", [PlainMatrix, packed])
def test_the_encoder_s_product_is_the_same_in_either_layout(make: MakeMatrix, weight: Tensor) -> None:
    bias, rows = torch.randn(OUT), torch.randn(ROWS, IN)
    matrix = make(weight, bias)
    expected = F.linear(rows, weight, bias)
    sum_ = torch.ones(ROWS, OUT)
    with torch.inference_mode():
        torch.testing.assert_close(matrix(rows), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(matrix(rows[:7]), expected[:7], rtol=1e-5, atol=1e-5)
        matrix.add_to(sum_, rows)
    torch.testing.assert_close(sum_, expected + 1.0, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 17])
@pytest.mark.parametrize("bias_of", [torch.randn, lambda outputs: None])
def test_the_decoder_s_product_is_the_same_for_any_number_of_rows(
    rows: int, bias_of: Callable[[int], Tensor | None], weight: Tensor
) -> None:
    bias, x = bias_of(OUT), torch.randn(rows, IN)
    with torch.inference_mode():
        torch.testing.assert_close(linear(weight, bias)(x), F.linear(x, weight, bias), rtol=1e-5, atol=1e-5)
