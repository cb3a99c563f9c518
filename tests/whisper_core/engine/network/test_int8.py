"""Products with int8 weights are within the rounding of 8 bits, in every library that torch has here."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_core.engine.network.int8 import Int8Linear, Int8Matrix, int8_libraries

ROWS, IN, OUT = 60, 384, 512
ROUNDING = 0.02  # of the result's norm: 8 bits for the weights and 7 to 8 for the input

libraries = pytest.mark.parametrize("library", int8_libraries())


def seeded(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


WEIGHT, BIAS, X = seeded(OUT, IN, seed=1) * IN**-0.5, seeded(OUT, seed=2), seeded(ROWS, IN, seed=3)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_there_is_a_library() -> None:
    assert int8_libraries()


@libraries
def test_a_matrix_with_many_rows(library: str) -> None:
    matrix = Int8Matrix(library, WEIGHT, BIAS)
    expected = F.linear(X, WEIGHT, BIAS)
    assert 0 < relative_error(matrix(X), expected) < ROUNDING
    sum_ = torch.ones(ROWS, OUT)
    matrix.add_to(sum_, X)
    torch.testing.assert_close(sum_, 1.0 + matrix(X))


@libraries
@pytest.mark.parametrize("bias", [BIAS, None])
def test_a_matrix_with_few_rows(library: str, bias: Tensor | None) -> None:
    linear = Int8Linear(library, WEIGHT, bias)
    for rows in (1, 2, 16):
        assert 0 < relative_error(linear(X[:rows]), F.linear(X[:rows], WEIGHT, bias)) < ROUNDING


@libraries
def test_a_row_s_result_does_not_depend_on_the_others(library: str) -> None:
    linear = Int8Linear(library, WEIGHT, BIAS)
    alone = linear(X[:1])
    for beside in (X[1:2], X[1:16], 1000 * X[1:5], torch.zeros(3, IN)):
        torch.testing.assert_close(linear(torch.cat([X[:1], beside]))[:1], alone, rtol=1e-6, atol=1e-6)


@libraries
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_row_that_is_no_number_spoils_itself_only(library: str, broken: float) -> None:
    linear, rows = Int8Linear(library, WEIGHT, BIAS), X[:3].clone()
    rows[1, 5] = broken
    found = linear(rows)
    assert found[1].isnan().any()
    torch.testing.assert_close(found[[0, 2]], linear(X[[0, 2]]), rtol=1e-6, atol=1e-6)


@libraries
def test_small_and_large_rows_are_as_precise_as_others(library: str) -> None:
    linear = Int8Linear(library, WEIGHT, None)
    scales = torch.tensor([1e-6, 1.0, 1e6])[:, None]
    expected = F.linear(X[:3], WEIGHT)
    torch.testing.assert_close(linear(scales * X[:3]) / scales, linear(X[:3]), rtol=1e-4, atol=1e-4)
    assert relative_error(linear(scales * X[:3]) / scales, expected) < ROUNDING


@libraries
def test_a_row_of_zeros_gives_the_bias(library: str) -> None:
    torch.testing.assert_close(Int8Linear(library, WEIGHT, BIAS)(torch.zeros(2, IN)), BIAS.expand(2, -1))


@libraries
def test_a_weight_of_zeros_gives_the_bias(library: str) -> None:
    torch.testing.assert_close(Int8Matrix(library, torch.zeros(OUT, IN), BIAS)(X), BIAS.expand(ROWS, -1))


@libraries
def test_packing_leaves_torch_s_own_choice_of_a_library(library: str) -> None:
    before = torch.backends.quantized.engine
    Int8Matrix(library, WEIGHT, BIAS)
    assert torch.backends.quantized.engine == before
