"""Each part of the network is computed in the way that was measured to be fastest on this processor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from errors import EngineError
from tests.whisper_core.engine.driving import toy
from whisper_core.engine.network import kernels
from whisper_core.engine.network.dims import CrossForm
from whisper_core.engine.network.encoder_attention import Attend, attend, attend_in_bf16, attend_in_bf16_blocks
from whisper_core.engine.network.int8 import Int8Linear, Int8Matrix, int8_libraries
from whisper_core.engine.network.kernels import exact_kernels, fastest_encoder_matrix, int8_kernels
from whisper_core.engine.network.linear import PackedMatrix, PlainMatrix
from whisper_core.engine.network.measuring import Choice

Ways = Mapping[str, Callable[[], Tensor]]


def choosing(place: int) -> Callable[[Ways, int], Choice]:
    """A measurement after which the way at this place is taken."""
    return lambda ways, state: Choice(list(ways)[place], dict.fromkeys(ways, 1.0))


def test_one_line_of_the_log_tells_what_was_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernels, "fastest", choosing(-1))
    with caplog.at_level(logging.INFO):
        int8_kernels(toy())
    (record,) = caplog.records
    libraries = int8_libraries()
    figures = ",".join(f"{library}:1.00" for library in libraries)
    assert record.getMessage() == (
        f"event=kernels_chosen precision=int8 encoder={libraries[-1]} encoder_ms={figures}"
        f" decoder={libraries[-1]} decoder_ms={figures}"
        " attention=bf16_blocks attention_ms=fp32:1.00,bf16:1.00,bf16_blocks:1.00"
        " keys=columns keys_ms=rows:1.00,columns:1.00 values=rows values_ms=columns:1.00,rows:1.00"
    )


@pytest.mark.parametrize(("place", "expected"), [(0, PlainMatrix), (1, PackedMatrix)])
def test_the_encoder_gets_the_layout_that_is_faster(
    place: int, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "fastest", choosing(place))
    weight = torch.randn(64, 16)
    make_matrix, _ = fastest_encoder_matrix(weight, 30)
    assert isinstance(make_matrix(weight, torch.zeros(64)), expected)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (0, CrossForm(are_keys_transposed=False, are_values_transposed=True)),
        (1, CrossForm(are_keys_transposed=True, are_values_transposed=False)),
    ],
)
def test_keys_and_values_get_the_form_that_is_read_faster(
    place: int, expected: CrossForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "fastest", choosing(place))
    assert exact_kernels(toy()).cross_form == expected


def test_what_is_measured_is_one_token_of_many_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[torch.Size] = []

    def run_all(ways: Ways, state: int) -> Choice:
        results.extend(way().shape[:3] for name, way in ways.items() if name.startswith(("rows", "columns")))
        return Choice(next(iter(ways)), {})

    monkeypatch.setattr(kernels, "fastest", run_all)
    dims = toy().dims
    int8_kernels(toy())
    (windows,) = {shape[0] for shape in results}
    assert windows * dims.n_audio_ctx * dims.n_text_state * 4 >= kernels._READ_BYTES
    assert results == 2 * [(windows, dims.n_text_head, 1)] + 2 * [(windows, 1, dims.n_text_head)]


@pytest.mark.parametrize("way", [attend_in_bf16, attend_in_bf16_blocks])
def test_attention_in_bf16_is_attention(way: Attend) -> None:
    query, key, value = torch.randn(3, 2, 3, 1100, 64, generator=torch.Generator().manual_seed(1))
    expected = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(2, 1100, -1)
    torch.testing.assert_close(attend(query, key, value), expected)
    found = way(query, key, value)
    assert (found.shape, found.dtype) == (expected.shape, torch.float32)
    assert float((found - expected).norm() / expected.norm()) < 0.01  # eight bits of mantissa


def test_openai_whisper_s_precision_is_never_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "fastest", choosing(-1))
    made, weight = exact_kernels(toy()), torch.randn(64, 16)
    assert made.encoder_attention is attend
    for matrix in (made.encoder_matrix(weight, torch.zeros(64)), made.decoder_matrix(weight, None)):
        torch.testing.assert_close(matrix(torch.eye(16)), weight.t(), rtol=1e-6, atol=1e-6)


def test_without_a_library_for_int8_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "int8_libraries", lambda: ())
    with pytest.raises(EngineError, match="int8"):
        int8_kernels(toy())


def test_an_int8_model_has_all_its_matrices_in_int8() -> None:
    made, weight = int8_kernels(toy()), torch.randn(64, 16)
    assert isinstance(made.encoder_matrix(weight, torch.zeros(64)), Int8Matrix)
    assert isinstance(made.decoder_matrix(weight, None), Int8Linear)
