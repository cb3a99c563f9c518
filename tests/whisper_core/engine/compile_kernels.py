"""Compiles all of Triton's kernels for a GPU of the given compute capability (90 for 9.0), without a GPU.

They are called as a step of large-v3 calls them, but instead of being launched they are compiled, with the types and
alignments of these very arguments. Prints the kernels' names, as JSON. Run with TRITON_INTERPRET unset.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from whisper_core.engine.decoding.choosing import Sampling
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.decoding.triton_choosing import choose
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import CrossForm, DecoderDims
from whisper_core.engine.network.layers import DecoderLayers, LayerNorm
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.triton_functions import add_norm, attend_to_sound, attend_to_text, embed

ROWS, VOCABULARY = 2, 51866
ELF = b"\x7fELF"
DIMS = DecoderDims(
    layers=1,
    heads=20,
    head_size=64,
    state=1280,
    text_positions=448,
    audio_positions=1500,
    device=torch.device("cpu"),
    dtype=torch.float16,
    cross=CrossForm(are_keys_transposed=False, are_values_transposed=False, is_fused=True),
)

compiled: set[str] = set()
launch = JITFunction.run


class Target:
    """What Triton asks of a GPU's driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self._capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self._capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_instead(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **named: Any) -> None:
    binary = launch(kernel, *arguments, grid=grid, warmup=True, **named).asm["cubin"]
    assert binary.startswith(ELF)
    compiled.add(kernel.__name__)


def call_all() -> None:
    state, dtype = DIMS.state, DIMS.dtype
    norm = LayerNorm(torch.zeros(state), torch.zeros(state))
    layers = DecoderLayers(
        torch.zeros(9, state), torch.zeros(448, state), (), norm, torch.Tensor.clone, DIMS.heads, dtype
    )
    x, fused = torch.zeros(ROWS, state, dtype=dtype), torch.zeros(ROWS, 3 * state, dtype=dtype)
    numbers = torch.zeros(ROWS, dtype=torch.int64)
    for rows in (numbers, slice(0, ROWS)):
        embed(layers, numbers, numbers, rows)
        add_norm(x, None if rows is numbers else x, norm)
        attend_to_text(fused, SelfCache.empty(DIMS, ROWS), 0, numbers, rows, None, DIMS.heads)
        attend_to_sound(x, CrossCache.empty(DIMS, ROWS), 0, rows, 1)
        suppressed = torch.zeros(50365, dtype=torch.int8)
        rules = TokenRules(50257, 50363, 50365, numbers, suppressed, "-1", 50)
        sampling = None if rows is numbers else Sampling(torch.zeros(ROWS, VOCABULARY))
        choose(torch.zeros(ROWS, VOCABULARY, dtype=dtype), rules, RowState.empty(DIMS, ROWS), rows, sampling)


if __name__ == "__main__":
    driver.set_active(Target(int(sys.argv[1])))
    JITFunction.run = compile_instead
    call_all()
    print(json.dumps(sorted(compiled)))
