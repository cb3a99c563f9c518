"""Each part of the encoder is computed in the way that was measured to be fastest on this processor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from errors import EngineError
from tests.whisper_core.engine.driving import toy
from whisper_core.engine.network import kernels
from whisper_core.engine.network.encoder_attention import Attend, attend, attend_in_bf16, attend_in_bf16_blocks
from whisper_core.engine.network.int8 import Int8Linear, Int8Matrix, int8_libraries
from whisper_core.engine.network.kernels import encoder_matrix, exact_kernels, int8_kernels
from whisper_core.engine.network.linear import PackedMatrix, PlainMatrix

Ways = Mapping[str, Callable[[], Tensor]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def taking(clock: list[float], *seconds: float) -> Callable[[], Tensor]:
    left = iter(seconds)

    def way() -> Tensor:
        clock[0] += next(left)
        return torch.zeros(1)

    return way


def choosing(place: int) -> Callable[[Ways, int], kernels._Choice]:
    """A measurement after which the way at this place is taken."""
    return lambda ways, state: kernels._Choice(list(ways)[place], dict.fromkeys(ways, 1.0))


@pytest.mark.parametrize(
    ("second_s", "chosen"),
    [((0.1, 0.3, 0.3, 0.3), "second"), ((0.9, 0.199, 0.3, 0.3), "first"), ((0.9, 0.9, 0.9, 0.9), "first")],
)
def test_the_first_way_stays_unless_another_s_fastest_time_is_clearly_less(
    second_s: tuple[float, ...], chosen: str, clock: list[float]
) -> None:
    ways = {"first": taking(clock, 0.9, 0.4, 0.2, 0.4), "second": taking(clock, *second_s)}
    choice = kernels._fastest(ways, state=384)
    assert choice.name == chosen
    assert choice.milliseconds == pytest.approx({"first": 200, "second": 1000 * min(second_s)})


def test_small_models_are_not_measured() -> None:
    ways: Ways = {"first": lambda: pytest.fail("measured"), "second": lambda: pytest.fail("measured")}
    assert kernels._fastest(ways, state=64).name == "first"


def test_one_line_of_the_log_tells_what_was_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernels, "_fastest", choosing(-1))
    with caplog.at_level(logging.INFO):
        int8_kernels(toy())
    (record,) = caplog.records
    libraries = int8_libraries()
    figures = ",".join(f"{library}:1.00" for library in libraries)
    assert record.getMessage() == (
        f"event=kernels_chosen precision=int8 encoder={libraries[-1]} encoder_ms={figures}"
        f" decoder={libraries[-1]} decoder_ms={figures}"
        " attention=bf16_blocks attention_ms=fp32:1.00,bf16:1.00,bf16_blocks:1.00"
    )


@pytest.mark.parametrize(("place", "expected"), [(0, PlainMatrix), (1, PackedMatrix)])
def test_the_encoder_gets_the_layout_that_is_faster(
    place: int, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_fastest", choosing(place))
    weight = torch.randn(64, 16)
    assert isinstance(encoder_matrix(weight, 30)(weight, torch.zeros(64)), expected)


@pytest.mark.parametrize("way", [attend_in_bf16, attend_in_bf16_blocks])
def test_attention_in_bf16_is_attention(way: Attend) -> None:
    query, key, value = torch.randn(3, 2, 3, 1100, 64, generator=torch.Generator().manual_seed(1))
    expected = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(2, 1100, -1)
    torch.testing.assert_close(attend(query, key, value), expected)
    found = way(query, key, value)
    assert (found.shape, found.dtype) == (expected.shape, torch.float32)
    assert float((found - expected).norm() / expected.norm()) < 0.01  # eight bits of mantissa


def test_openai_whisper_s_precision_is_never_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_fastest", choosing(-1))
    made, weight = exact_kernels(toy()), torch.randn(64, 16)
    assert made.encoder_attention is attend
    for matrix in (made.encoder_matrix(weight, torch.zeros(64)), made.decoder_matrix(weight, None)):
        torch.testing.assert_close(matrix(torch.eye(16)), weight.t(), rtol=1e-6, atol=1e-6)


def test_a_way_that_takes_far_too_long_is_tried_once(clock: list[float]) -> None:
    ways = {"first": taking(clock, 2, 1, 1, 1), "endless": taking(clock, 60)}
    assert kernels._fastest(ways, state=384).name == "first"


def test_without_a_library_for_int8_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "int8_libraries", lambda: ())
    with pytest.raises(EngineError, match="int8"):
        int8_kernels(toy())


def test_an_int8_model_has_all_its_matrices_in_int8() -> None:
    made, weight = int8_kernels(toy()), torch.randn(64, 16)
    assert isinstance(made.encoder_matrix(weight, torch.zeros(64)), Int8Matrix)
    assert isinstance(made.decoder_matrix(weight, None), Int8Linear)
