"""Whether other step functions compute what torch's do: tried once on a device before they are used there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import CrossForm, DecoderDims
from whisper_core.engine.network.layers import DecoderLayers, LayerNorm
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.step_functions import TORCH_FUNCTIONS, StepFunctions

_SEED = 1
_TOLERANCE = 1e-2  # torch's attention keeps its weights in fp16; all results are of the order of 1
_POSITIONS = (5, 0, 130, 64)  # of the rows that are computed: none before it, several blocks of a kernel, a whole block
_ROWS = (4, 0, 5, 2)
_PLACES = (2, 0)  # each of two rows
_ALL_ROWS, _ALL_PLACES = 6, 3
_DIMS = DecoderDims(
    layers=2,
    heads=2,
    head_size=64,
    state=128,
    text_positions=160,
    audio_positions=300,
    device=torch.device("cpu"),
    dtype=torch.float16,
    cross=CrossForm(are_keys_transposed=False, are_values_transposed=False, is_fused=True),
)
_VOCABULARY = 32

Try = Callable[[StepFunctions], list[Tensor]]
"""Calls one of the functions; what it returns and what it changes."""


def check_dims(device: torch.device) -> DecoderDims:
    """Small ones to try functions with."""
    return replace(_DIMS, device=device)


def first_wrong(functions: StepFunctions, dims: DecoderDims) -> str | None:
    """The name of the first of the functions that computes something else than torch's; None if none does.

    dims: whose widths are tried, in a small cache on their device.
    """
    widths = replace(_DIMS, device=dims.device, heads=dims.heads, head_size=dims.head_size, state=dims.state)
    tries: dict[str, Try] = _Tries(widths).by_name()
    for name, attempt in tries.items():
        pairs = zip(attempt(functions), attempt(TORCH_FUNCTIONS), strict=True)
        if not all(torch.allclose(ours.float(), torchs.float(), _TOLERANCE, _TOLERANCE) for ours, torchs in pairs):
            return name
    return None


class _Tries:
    """The same numbers for every function, whatever the device."""

    def __init__(self, dims: DecoderDims) -> None:
        device = dims.device
        self._dims = dims
        self._generator = Generator().manual_seed(_SEED)
        self._rows = torch.tensor(_ROWS, device=device)
        self._places = torch.tensor(_PLACES, device=device)
        self._positions = torch.zeros(_ALL_ROWS, dtype=torch.int64, device=device)
        self._positions[self._rows] = torch.tensor(_POSITIONS, device=device)
        self._tokens = torch.arange(_ALL_ROWS, device=device)

    def by_name(self) -> dict[str, Try]:
        return {
            "embed": self._embedding(),
            "add_norm": self._normalising(),
            "attend_to_text": self._attending_to_text(),
            "attend_to_sound": self._attending_to_sound(),
        }

    def _embedding(self) -> Try:
        state = self._dims.state
        layers = DecoderLayers(
            token_embedding=self._random(_VOCABULARY, state),
            positional_embedding=self._random(self._dims.text_positions, state),
            blocks=(),
            norm=LayerNorm(self._random(state), self._random(state)),
            vocabulary=torch.Tensor.clone,  # not called
            num_heads=self._dims.heads,
            dtype=self._dims.dtype,
        )
        return lambda functions: [functions.embed(layers, self._tokens, self._positions, self._rows)]

    def _normalising(self) -> Try:
        state = self._dims.state
        x, added = (self._random(len(_ROWS), state).to(self._dims.dtype) for _ in range(2))
        norm = LayerNorm(self._random(state), self._random(state))

        def attempt(functions: StepFunctions) -> list[Tensor]:
            mine = x.clone()
            return [functions.add_norm(mine, None, norm), functions.add_norm(mine, added, norm), mine]

        return attempt

    def _attending_to_text(self) -> Try:
        dims, layer = self._dims, 1
        filled = SelfCache.empty(dims, _ALL_ROWS)
        for tensor in (filled.keys, filled.values):
            tensor.copy_(self._random(*tensor.shape))
        fused = self._random(len(_ROWS), 3 * dims.state).to(dims.dtype)

        def attempt(functions: StepFunctions) -> list[Tensor]:
            cache = SelfCache(filled.keys.clone(), filled.values.clone())
            reach = functions.reach(self._positions, self._rows, dims.text_positions, dims.dtype)
            mixed = functions.attend_to_text(fused, cache, layer, self._positions, self._rows, reach, dims.heads)
            return [mixed, cache.keys, cache.values]

        return attempt

    def _attending_to_sound(self) -> Try:
        dims, layer = self._dims, 1
        cross = CrossCache.empty(dims, _ALL_PLACES)
        for tensor in (cross.keys, cross.values):
            tensor.copy_(self._random(*tensor.shape))
        query = self._random(len(_ROWS), dims.state).to(dims.dtype)
        rows_per_place = len(_ROWS) // len(_PLACES)
        return lambda functions: [functions.attend_to_sound(query, cross, layer, self._places, rows_per_place)]

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator).to(self._dims.device)
