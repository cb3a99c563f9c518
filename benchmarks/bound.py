"""How fast exact transcription in fp32 can be on this CPU at best, from rates that are measured here.

    python -m benchmarks.bound --model tiny.en

Counts what cannot be left out: the encoder's products and attention, each at the rate that it reaches alone with a
window on every core; and for every token the keys and values of its window and a share of the decoder's matrices, at
the rate at which all cores read memory together. Layer norms, prompts, token rules and Python are not counted, so no
engine reaches it. --seconds, --tokens: of an average window, as a run of the engine reports them.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from benchmarks.machine import describe_machine
from whisper_core.engine.network.kernels import fastest_encoder_matrix
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.models.catalogue import model_info

FP32 = 4
MEL_FRAMES = 3000  # of a window; the second convolution halves them
KERNEL = 3  # of both convolutions
READ_BYTES = 64 * 2**20  # by each core at a time: more than its caches hold
REPEAT = 9


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one window, and bytes that a step of the decoder reads."""

    products: int
    attention: int
    window_bytes: int  # keys and values of one window, for each of its tokens
    matrix_bytes: int  # for each step, however many windows take part

    @classmethod
    def of(cls, dims: ModelDimensions) -> Work:
        positions, state = dims.n_audio_ctx, dims.n_audio_state
        convolutions = 2 * KERNEL * state * (dims.n_mels * MEL_FRAMES + state * positions)
        layers = dims.n_audio_layer * 2 * positions * 12 * state**2
        cross = dims.n_text_layer * 2 * positions * 2 * dims.n_text_state**2
        matrices = dims.n_text_layer * 14 * dims.n_text_state**2 + dims.n_vocab * dims.n_text_state
        return cls(
            products=convolutions + layers + cross,
            attention=dims.n_audio_layer * 2 * 2 * positions**2 * state,
            window_bytes=dims.n_text_layer * 2 * positions * dims.n_text_state * FP32,
            matrix_bytes=matrices * FP32,
        )


@dataclass(frozen=True)
class Rates:
    """Of all cores together, a second."""

    products: float
    attention: float
    read_bytes: float


def measure(dims: ModelDimensions, cores: int) -> Rates:
    state, positions = dims.n_audio_state, dims.n_audio_ctx
    rows, weight = torch.randn(positions, state), torch.randn(4 * state, state)
    make_matrix, _ = fastest_encoder_matrix(weight, positions)
    matrix = make_matrix(weight, torch.zeros(4 * state))
    heads = torch.randn(1, dims.n_audio_head, positions, state // dims.n_audio_head)
    blocks = iter([torch.ones(READ_BYTES // FP32) for _ in range(cores)])
    product_s = on_all(cores, lambda: partial(matrix, rows))
    attention_s = on_all(cores, lambda: partial(F.scaled_dot_product_attention, heads, heads, heads))
    read_s = on_all(cores, lambda: next(blocks).sum)
    return Rates(
        products=cores * 2 * positions * 4 * state**2 / product_s,
        attention=cores * 4 * positions**2 * state / attention_s,
        read_bytes=cores * READ_BYTES / read_s,
    )


def on_all(cores: int, make: Callable[[], Callable[[], object]]) -> float:
    """Seconds of a call while every core runs one on a thread of its own: the fastest of the rounds, by the slowest
    core."""

    def timed(call: Callable[[], object]) -> float:
        torch.set_num_threads(1)
        with torch.inference_mode():
            began = time.perf_counter()
            call()
            return time.perf_counter() - began

    calls = [make() for _ in range(cores)]
    with ThreadPoolExecutor(cores) as executor:
        return min(max(executor.map(timed, calls)) for _ in range(REPEAT))


def report(work: Work, rates: Rates, *, seconds: float, tokens: float, rows: int) -> str:
    """The arithmetic as a table, in milliseconds of a window with all cores at work."""
    products_s = work.products / rates.products
    attention_s = work.attention / rates.attention
    windows_s = tokens * work.window_bytes / rates.read_bytes
    matrices_s = tokens * work.matrix_bytes / rows / rates.read_bytes
    total_s = products_s + attention_s + windows_s + matrices_s
    multiplied, attended = f"{rates.products / 1e9:.0f} GFLOP/s", f"{rates.attention / 1e9:.0f} GFLOP/s"
    read = f"{rates.read_bytes / 1e9:.1f} GB/s"
    lines = [
        ("encoder: products", f"{work.products / 1e9:.1f} GFLOP", multiplied, products_s),
        ("encoder: attention", f"{work.attention / 1e9:.1f} GFLOP", attended, attention_s),
        (f"{tokens:.0f} tokens: keys and values", f"{work.window_bytes / 1e6:.1f} MB each", read, windows_s),
        (f"{tokens:.0f} tokens: matrices", f"{work.matrix_bytes / 1e6:.0f} MB for {rows}", read, matrices_s),
    ]
    table = ["| part of a window | work | all cores | ms |", "| --- | ---: | ---: | ---: |"]
    table += [f"| {part} | {amount} | {rate} | {part_s * 1e3:.1f} |" for part, amount, rate, part_s in lines]
    table.append(f"| together | | | {total_s * 1e3:.1f} |")
    return "\n".join(
        [*table, "", f"Bound with {seconds:.1f} s of sound a window: {seconds / total_s:.1f} × real time."]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rows", type=int, default=16, help="windows that a step decodes together")
    parser.add_argument("--seconds", type=float, default=20.0, help="of sound in a window, on average")
    parser.add_argument("--tokens", type=float, default=60.0, help="in a window, on average")
    options = parser.parse_args()
    dims = model_info(options.model).dimensions
    print(f"{describe_machine()}\n\n{options.model}, {options.cores} cores\n")
    rates = measure(dims, options.cores)
    print(report(Work.of(dims), rates, seconds=options.seconds, tokens=options.tokens, rows=options.rows))


if __name__ == "__main__":
    main()
