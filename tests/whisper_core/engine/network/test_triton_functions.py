"""Triton's kernels, interpreted on the CPU, compute what torch's functions compute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from tests.properties import budget
from whisper_core.engine.network import step_functions as by_torch
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import CrossForm
from whisper_core.engine.network.function_check import check_dims, first_wrong
from whisper_core.engine.network.layers import DecoderLayers, LayerNorm
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.step_functions import TORCH_FUNCTIONS, Rows, StepFunctions

by_triton = pytest.importorskip("whisper_core.engine.network.triton_functions", exc_type=ImportError)

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.float16]
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3}  # in fp16 torch rounds on the way
LAYERS, ROWS, HEADS, POSITIONS = 3, 7, 2, 150
# In any order; the last ones stand for padding, whose rows nobody reads.
SOME_ROWS = torch.tensor([4, 0, 5, 2, 6, 6])
READ = 4  # of these


@pytest.fixture
def random() -> Generator:
    return Generator().manual_seed(3)


def assert_close(ours: Tensor, torchs: Tensor) -> None:
    tolerance = TOLERANCE[torchs.dtype]
    torch.testing.assert_close(ours, torchs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rows", [slice(0, 3), slice(2, 5), torch.tensor([6, 1, 1])])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stored", DTYPES)
def test_embeddings_have_the_same_bits(rows: Rows, dtype: torch.dtype, stored: torch.dtype, random: Generator) -> None:
    state = 96
    layers = DecoderLayers(
        token_embedding=torch.randn(50, state, generator=random).to(stored),
        positional_embedding=torch.randn(20, state, generator=random),
        blocks=(),
        norm=LayerNorm(torch.ones(state), torch.zeros(state)),
        vocabulary=torch.Tensor.clone,
        num_heads=2,
        dtype=dtype,
    )
    tokens, positions = torch.arange(40, 40 + ROWS), torch.arange(ROWS) * 3 % 20
    ours = by_triton.embed(layers, tokens, positions, rows)
    assert torch.equal(ours, by_torch.embed(layers, tokens, positions, rows))
    assert ours.dtype is dtype


@pytest.mark.parametrize("state", [64, 96, 384, 1280])
@pytest.mark.parametrize("is_added", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_and_its_layer_norm(state: int, is_added: bool, dtype: torch.dtype, random: Generator) -> None:
    x, added = ((3 * torch.randn(5, state, generator=random) + 1).to(dtype) for _ in range(2))
    norm = LayerNorm(torch.randn(state, generator=random), torch.randn(state, generator=random))
    ours, torchs = x.clone(), x.clone()
    result = by_triton.add_norm(ours, added if is_added else None, norm)
    assert_close(result, by_torch.add_norm(torchs, added if is_added else None, norm))
    assert torch.equal(ours, torchs), "rounded as torch rounds it"
    assert result.dtype is dtype


def filled_to(positions: Tensor, head_size: int, dtype: torch.dtype, random: Generator, rest: float) -> SelfCache:
    """With `rest` where nothing was written yet, from each row's position on."""
    shape = (2, LAYERS, ROWS, HEADS, POSITIONS, head_size)
    keys, values = torch.randn(shape, generator=random).to(dtype)
    is_unused = (torch.arange(POSITIONS) >= positions[:, None])[None, :, None, :, None]
    return SelfCache(keys.masked_fill(is_unused, rest), values.masked_fill(is_unused, rest))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [slice(0, ROWS), SOME_ROWS], ids=["first", "any"])
@given(
    positions=st.lists(st.integers(0, POSITIONS - 1), min_size=ROWS, max_size=ROWS), head_size=st.sampled_from([16, 24])
)
@budget(3)
def test_attention_to_the_text(rows: Rows, dtype: torch.dtype, positions: list[int], head_size: int) -> None:
    """Of rows of any length, one of which may have no earlier position and one all, in memory full of NaN."""
    at = torch.tensor(positions)
    at[0], at[2] = 0, POSITIONS - 1
    ours, torchs = (filled_to(at, head_size, dtype, Generator().manual_seed(1), rest) for rest in (torch.nan, 0.0))
    count, read = (len(rows), READ) if isinstance(rows, Tensor) else (ROWS, ROWS)
    fused = torch.randn(count, 3 * HEADS * head_size, generator=Generator().manual_seed(2)).to(dtype)
    mixed = by_triton.attend_to_text(fused, ours, 1, at, rows, None, HEADS)
    reach = by_torch.reach(at, rows, POSITIONS, dtype)
    expected = by_torch.attend_to_text(fused, torchs, 1, at, rows, reach, HEADS)
    assert_close(mixed[:read], expected[:read])
    for mine, theirs in ((ours.keys, torchs.keys), (ours.values, torchs.values)):
        assert torch.equal(mine[:, :6].nan_to_num(), theirs[:, :6].nan_to_num()), "row 6 is padding"
        is_written = ~mine[:, :6].isnan().any(dim=(2, 4))
        assert int(is_written.sum()) == LAYERS * int(at[:6].sum()) + min(read, 6), "one position each, in one layer"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("positions", [1, 30, 128, 300])
@pytest.mark.parametrize(
    ("places", "rows_per_place"),
    [(slice(0, 4), 1), (torch.tensor([3, 0, 0, 2]), 1), (torch.tensor([3, 1]), 2), (slice(1, 2), 5)],
)
def test_attention_to_the_sound(
    places: Rows, rows_per_place: int, positions: int, dtype: torch.dtype, random: Generator
) -> None:
    head_size = 32
    count = len(places) if isinstance(places, Tensor) else places.stop - places.start
    form = CrossForm(are_keys_transposed=False, are_values_transposed=False, is_fused=True)
    keys, values = torch.randn(2, LAYERS, 4, HEADS, positions, head_size, generator=random).to(dtype)
    cross = CrossCache(keys, values, form)
    query = torch.randn(count * rows_per_place, HEADS * head_size, generator=random).to(dtype)
    mixed = by_triton.attend_to_sound(query, cross, 2, places, rows_per_place)
    assert_close(mixed, by_torch.attend_to_sound(query, cross, 2, places, rows_per_place))


def test_large_scores_do_not_overflow(random: Generator) -> None:
    keys, values = 60 * torch.randn(2, 1, 1, HEADS, 200, 16, generator=random)
    cross = CrossCache(keys, values, CrossForm(False, False, True))
    query = 60 * torch.randn(1, HEADS * 16, generator=random)
    mixed = by_triton.attend_to_sound(query, cross, 0, slice(0, 1), 1)
    torch.testing.assert_close(mixed, by_torch.attend_to_sound(query, cross, 0, slice(0, 1), 1), rtol=1e-4, atol=1e-4)


def test_rows_of_a_cache_s_view(random: Generator) -> None:
    """As search.py's beams take them: a layer of it is not where that of the whole cache is."""
    whole = filled_to(torch.full((ROWS,), 9), 16, torch.float32, random, 0.0)
    copy = SelfCache(whole.keys.clone(), whole.values.clone())
    fused, at = torch.randn(3, 3 * HEADS * 16, generator=random), torch.full((3,), 9)
    mixed = by_triton.attend_to_text(fused, whole.rows(2, 3), 1, at, slice(0, 3), None, HEADS)
    reach = by_torch.reach(at, slice(0, 3), 10, fused.dtype)
    assert_close(mixed, by_torch.attend_to_text(fused, copy.rows(2, 3), 1, at, slice(0, 3), reach, HEADS))
    assert torch.equal(whole.keys, copy.keys)


def test_the_check_before_use_finds_nothing_wrong_with_them() -> None:
    assert first_wrong(by_triton.TRITON_FUNCTIONS, check_dims(CPU)) is None


@pytest.mark.parametrize("name", ["embed", "add_norm", "attend_to_text", "attend_to_sound"])
def test_the_check_before_use_finds_a_wrong_function(name: str) -> None:
    def wrong(*arguments: Any) -> Tensor:
        result: Tensor = getattr(TORCH_FUNCTIONS, name)(*arguments)
        result[-1, -1] += 0.5
        return result

    functions = StepFunctions(**{**TORCH_FUNCTIONS._asdict(), name: wrong})
    assert first_wrong(functions, check_dims(CPU)) == name


def test_the_check_before_use_looks_at_what_is_stored() -> None:
    def forgetful(fused: Tensor, cache: SelfCache, *arguments: Any) -> Tensor:
        return by_torch.attend_to_text(fused, replace(cache, keys=cache.keys.clone()), *arguments)

    assert first_wrong(TORCH_FUNCTIONS._replace(attend_to_text=forgetful), check_dims(CPU)) == "attend_to_text"
