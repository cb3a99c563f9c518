"""How many kernels a GPU runs for a step: an operation on the meta device stands for one, as does a Triton function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from whisper_core.engine.decoding import choosing
from whisper_core.engine.decoding.choosing import Choose
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_step
from whisper_core.engine.network.dims import DecoderDims
from whisper_core.engine.network.function_check import check_dims
from whisper_core.engine.network.layers import DecoderBlock, DecoderLayers, LayerNorm
from whisper_core.engine.network.linear import linear
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.step_functions import TORCH_FUNCTIONS, StepFunctions

MOST_OF_A_LAYER, MOST_OUTSIDE = 12, 6
TORCHS_OF_A_LAYER, TORCHS_OUTSIDE = 25, 60  # fewer than torch's functions take
META = torch.device("meta")
ROWS, VOCABULARY = 4, 600


class KernelCounter(TorchDispatchMode):
    """Counts by name. Views run nothing, and allocating memory neither."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self._is_inside = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned, name = func._schema.returns, func._schema.name
        is_view = any(each.alias_info is not None and not each.alias_info.is_write for each in returned)
        if not (self._is_inside or is_view or "empty" in name):
            self.kernels[name] += 1
        return func(*args, **(kwargs or {}))

    def as_kernels(self, count: int, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def launch(*arguments: Any) -> Any:
            self.kernels[name] += count
            self._is_inside = True
            try:
                return work(*arguments)
            finally:
                self._is_inside = False

        return launch


def layers_of(dims: DecoderDims) -> DecoderLayers:
    state, wide = dims.state, 4 * dims.state
    norm = LayerNorm(*torch.empty(2, state, device=META))

    def product(inputs: int, outputs: int, has_bias: bool = True) -> Callable[[Tensor], Tensor]:
        weight, bias = torch.empty(outputs, inputs, device=META), torch.empty(outputs, device=META)
        return linear(weight.to(dims.dtype), bias.to(dims.dtype) if has_bias else None)

    block = DecoderBlock(
        attention_norm=norm,
        query_key_value=product(state, 3 * state),
        attention_out=product(state, state),
        cross_norm=norm,
        cross_query=product(state, state),
        cross_out=product(state, state),
        mlp_norm=norm,
        mlp_in=product(state, wide),
        mlp_out=product(wide, state),
    )
    return DecoderLayers(
        token_embedding=torch.empty(VOCABULARY, state, device=META),
        positional_embedding=torch.empty(dims.text_positions, state, device=META),
        blocks=(block,) * dims.layers,
        norm=norm,
        vocabulary=product(state, VOCABULARY, has_bias=False),
        num_heads=dims.heads,
        dtype=dims.dtype,
    )


def kernels_of_a_step(num_layers: int, counter: KernelCounter, functions: StepFunctions, choose: Choose) -> int:
    """From the rows' tokens to their next ones."""
    dims = replace(check_dims(META), layers=num_layers)
    layers, rows = layers_of(dims), torch.arange(ROWS, device=META)
    state, cache, cross = RowState.empty(dims, ROWS), SelfCache.empty(dims, ROWS), CrossCache.empty(dims, ROWS)
    suppressed = torch.empty(3, dtype=torch.int64, device=META)
    rules = TokenRules(500, 501, 510, suppressed, suppressed.to(torch.int8), "", largest_first=50)
    with counter:
        logits = run_step(layers, functions, state.token, state.position, rows, rows, 1, 160, cross, cache)
        choose(logits, rules, state, rows, None)
    return counter.kernels.total()


def counts(make: Callable[[KernelCounter], tuple[StepFunctions, Choose]]) -> tuple[int, int]:
    """Kernels of a layer, and of a step outside its layers."""
    totals = []
    for num_layers in (1, 2):
        counter = KernelCounter()
        totals.append(kernels_of_a_step(num_layers, counter, *make(counter)))
    of_a_layer = totals[1] - totals[0]
    return of_a_layer, totals[0] - of_a_layer


def triton_s(counter: KernelCounter) -> tuple[StepFunctions, Choose]:
    names = ("embed", "add_norm", "attend_to_text", "attend_to_sound")
    counted = {name: counter.as_kernels(1, name, getattr(TORCH_FUNCTIONS, name)) for name in names}
    counted["reach"] = counter.as_kernels(0, "reach", TORCH_FUNCTIONS.reach)  # theirs does nothing
    return StepFunctions("counted", **counted), counter.as_kernels(1, "choose", choosing.choose)


def torch_s(counter: KernelCounter) -> tuple[StepFunctions, Choose]:
    return TORCH_FUNCTIONS, choosing.choose


def test_a_step_is_few_kernels() -> None:
    of_a_layer, outside = counts(triton_s)
    assert of_a_layer <= MOST_OF_A_LAYER
    assert outside <= MOST_OUTSIDE


def test_with_torch_s_functions_it_is_far_more() -> None:
    of_a_layer, outside = counts(torch_s)
    assert of_a_layer > TORCHS_OF_A_LAYER
    assert outside > TORCHS_OUTSIDE


@pytest.mark.parametrize("name", ["add_norm", "attend_to_text"])
def test_a_function_that_is_more_than_one_kernel_is_noticed(name: str) -> None:
    def make(counter: KernelCounter) -> tuple[StepFunctions, Choose]:
        functions, choose = triton_s(counter)
        return StepFunctions(**{**functions._asdict(), name: getattr(TORCH_FUNCTIONS, name)}), choose

    assert counts(make)[0] > MOST_OF_A_LAYER
