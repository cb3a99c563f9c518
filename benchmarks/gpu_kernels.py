"""The engine's kernels at the sizes of real models: how far from torch's functions, and how much faster.

Also torch's own attention: which of its back ends works for the encoder and for prompts, how long the first call takes,
which plans it, and how long the next ones.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu_models import dimensions_of, on_decoder_stream
from benchmarks.gpu_part import Part
from benchmarks.gpu_timeline import seconds_of, wait_for_device
from whisper_core.engine.decoding import choosing
from whisper_core.engine.decoding.choosing import Sampling
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.step_kernels import StepKernels, triton_kernels
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import CrossForm, DecoderDims
from whisper_core.engine.network.layers import DecoderLayers, LayerNorm
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.network.step_functions import TORCH_FUNCTIONS, StepFunctions
from whisper_core.formats.dimensions import ModelDimensions

ROWS = (1, 16, 64)
TRIAL_ROWS = (2,)
MODEL = "large-v3"
LAYERS = 4  # in turn, so that the keys and values of a few rows do not all stay in the card's cache
POSITION = 150  # of all rows
REPLAYS = 50
BACKENDS = (
    SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH
)  # fmt: skip
PROMPT_TEXT = "prompt, its text"
SEED = 3

Call = Callable[[StepKernels], list[Tensor]]
"""Runs one kernel, or torch's function, for every layer; what it computed last."""


def measure_kernels(part: Part) -> None:
    dimensions = dimensions_of(part, MODEL)
    if part.is_trial:
        dimensions = replace(dimensions, n_audio_ctx=100, n_vocab=6000)  # Triton's interpreter is slow
    with on_decoder_stream(part):
        for name, query, keys in attentions(dimensions, part.device):
            for backend in BACKENDS:
                try_attention(part, name, backend, query, keys)
        for rows in TRIAL_ROWS if part.is_trial else ROWS:
            if not part.budget.allows(5):
                part.report.left_out(f"the kernels with {rows} rows")
                return
            compare_all(part, Calls(dims_of(dimensions, part.device), dimensions.n_vocab, rows))


def compare_all(part: Part, calls: Calls) -> None:
    ours, torchs = triton_kernels(), StepKernels(TORCH_FUNCTIONS, choosing.choose)
    for name, (call, read_bytes) in calls.by_name().items():
        pairs = zip(call(ours), call(torchs), strict=True)
        difference = max(float((mine.double() - theirs.double()).abs().max()) for mine, theirs in pairs)
        seconds = graph_seconds(part, partial(call, ours)) / LAYERS
        part.report.row(
            f"Kernels beside torch's functions, {MODEL}, fp16",
            {
                "": name,
                "rows": calls.rows,
                "largest difference": difference,
                "µs": 1e6 * seconds,
                "torch, µs": 1e6 * graph_seconds(part, partial(call, torchs)) / LAYERS,
                "read, TB/s": read_bytes / seconds / 1e12 if read_bytes else None,
            },
        )


class Calls:
    """Random inputs for each kernel, the same for torch's function. rows: of a step."""

    def __init__(self, dims: DecoderDims, num_tokens: int, rows: int) -> None:
        self.rows = rows
        self._dims = dims
        self._num_tokens = num_tokens
        self._generator = torch.Generator(dims.device).manual_seed(SEED)
        self._numbers = torch.arange(rows, device=dims.device)
        self._positions = torch.full((rows,), POSITION, device=dims.device)

    def by_name(self) -> dict[str, tuple[Call, int]]:
        """Also the bytes that a call reads for each layer, where these bound it."""
        return {
            "embed": (self._embedding(), 0),
            "add_norm": (self._normalising(), 0),
            "attend_to_text": (self._attending_to_text(), 0),
            "attend_to_sound": self._attending_to_sound(),
            "choose": (self._choosing(None), 0),
            "choose, sampled": (self._choosing(0.4), 0),
        }

    def _embedding(self) -> Call:
        dims = self._dims
        layers = DecoderLayers(
            token_embedding=self._random(self._num_tokens, dims.state),
            positional_embedding=self._random(dims.text_positions, dims.state),
            blocks=(),
            norm=self._norm(),
            vocabulary=torch.Tensor.clone,  # not called
            num_heads=dims.heads,
            dtype=dims.dtype,
        )
        tokens = 1000 + self._numbers
        return self._in_each_layer(lambda functions, _: functions.embed(layers, tokens, self._positions, self._numbers))

    def _normalising(self) -> Call:
        """Without a sum, which would be a larger one in every turn."""
        x, norm = self._random(self.rows, self._dims.state).to(self._dims.dtype), self._norm()
        zeros = torch.zeros_like(x)
        return self._in_each_layer(lambda functions, _: functions.add_norm(x, zeros, norm))

    def _attending_to_text(self) -> Call:
        dims = self._dims
        cache = SelfCache.empty(dims, self.rows)
        for tensor in (cache.keys, cache.values):
            tensor.normal_(generator=self._generator)
        fused = self._random(self.rows, 3 * dims.state).to(dims.dtype)
        positions, numbers = self._positions, self._numbers

        def attend(kernels: StepKernels) -> list[Tensor]:
            functions = kernels.functions
            reach = functions.reach(positions, numbers, dims.text_positions, dims.dtype)  # once a step
            return [
                functions.attend_to_text(fused, cache, layer, positions, numbers, reach, dims.heads)
                for layer in range(LAYERS)
            ]

        return attend

    def _attending_to_sound(self) -> tuple[Call, int]:
        dims = self._dims
        cross = CrossCache.empty(dims, self.rows)
        for tensor in (cross.keys, cross.values):
            tensor.normal_(generator=self._generator)
        query = self._random(self.rows, dims.state).to(dims.dtype)
        call = self._in_each_layer(
            lambda functions, layer: functions.attend_to_sound(query, cross, layer, self._numbers, 1)
        )
        return call, (cross.keys.nbytes + cross.values.nbytes) // dims.layers

    def _choosing(self, temperature: float | None) -> Call:
        logits = (3 * self._random(self.rows, self._num_tokens)).to(self._dims.dtype)
        is_overwritten = logits.dtype is torch.float32
        sampling = None
        if temperature is not None:
            sampling = Sampling(torch.empty(logits.shape, device=logits.device).exponential_(generator=self._generator))
        rules = self._rules()
        states = defaultdict[str, RowState](lambda: self._after_some_text(rules, temperature or 0.0))

        def choose(kernels: StepKernels) -> list[Tensor]:
            """As many tokens as there are layers; the next call goes on."""
            state = states[kernels.functions.name]
            for _ in range(LAYERS):
                kernels.choose(logits.clone() if is_overwritten else logits, rules, state, self._numbers, sampling)
            return [state.token, state.sampled.sum_logprob]

        return choose

    def _rules(self) -> TokenRules:
        begin = self._num_tokens - 1501
        eot = begin - 108
        suppressed = torch.arange(0, 1000, 11, device=self._dims.device)
        return TokenRules(
            eot=eot,
            no_speech=eot + 1,
            timestamp_begin=begin,
            suppressed=suppressed,
            is_suppressed=torch.zeros(1000, dtype=torch.int8, device=self._dims.device).index_fill_(0, suppressed, 1),
            suppress_tokens="",
            largest_first=50,
        )

    def _after_some_text(self, rules: TokenRules, temperature: float) -> RowState:
        state = RowState.empty(self._dims, self.rows)
        state.begin(
            slice(0, self.rows),
            prompt_length=POSITION,
            max_tokens=10 * REPLAYS * LAYERS,
            temperature=temperature,
            timestamp_begin=rules.timestamp_begin,
            no_speech_prob=state.temperature,
        )
        state.sampled.num_sampled.fill_(50)
        state.was_timestamp.fill_(False)
        return state

    def _in_each_layer(self, function: Callable[[StepFunctions, int], Tensor]) -> Call:
        return lambda kernels: [function(kernels.functions, layer) for layer in range(LAYERS)]

    def _norm(self) -> LayerNorm:
        return LayerNorm(self._random(self._dims.state), self._random(self._dims.state))

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self._dims.device)


def graph_seconds(part: Part, work: Callable[[], object]) -> float:
    """Of the device, as a graph, so that no launch is waited for."""
    work()
    wait_for_device(part.is_trial)
    return seconds_of(work if part.is_trial else captured(work), 1 if part.is_trial else REPLAYS, part.is_trial)[0]


def captured(work: Callable[[], object]) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(capture_error_mode="thread_local")
    try:
        work()
    finally:
        graph.capture_end()
    return graph.replay


def attentions(dimensions: ModelDimensions, device: str) -> Sequence[tuple[str, Tensor, Tensor]]:
    """Queries and keys of eight windows: (windows, heads, positions, head size)."""
    heads, size = dimensions.n_audio_head, dimensions.n_audio_state // dimensions.n_audio_head
    dtype = torch.float32 if device == "cpu" else torch.float16

    def random(positions: int) -> Tensor:
        return torch.randn(8, heads, positions, size, device=device, dtype=dtype)

    sound = random(dimensions.n_audio_ctx)
    text = random(64)
    return [("encoder", sound, sound), (PROMPT_TEXT, text, text), ("prompt, sound", text, sound)]


def try_attention(part: Part, name: str, backend: SDPBackend, query: Tensor, keys: Tensor) -> None:
    def attend() -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(query, keys, keys, is_causal=name == PROMPT_TEXT)

    began = time.perf_counter()
    first_ms: float | None = None
    later_ms: float | None = None
    try:
        attend()
        wait_for_device(part.is_trial)
        first_ms = 1e3 * (time.perf_counter() - began)
        later_ms = 1e3 * graph_seconds(part, attend)
    except RuntimeError:
        """It does not exist for this card and these sizes."""
    part.report.row(
        "Torch's attention of eight windows, by back end",
        {"": name, "back end": backend.name.lower(), "first call, ms": first_ms, "later, ms": later_ms},
    )


def dims_of(dimensions: ModelDimensions, device: str) -> DecoderDims:
    """As the engine keeps it: fp16 on a GPU. With a few layers only."""
    return DecoderDims(
        layers=LAYERS,
        heads=dimensions.n_text_head,
        head_size=dimensions.n_text_state // dimensions.n_text_head,
        state=dimensions.n_text_state,
        text_positions=dimensions.n_text_ctx,
        audio_positions=dimensions.n_audio_ctx,
        device=torch.device(device),
        dtype=torch.float32 if device == "cpu" else torch.float16,
        cross=CrossForm(are_keys_transposed=False, are_values_transposed=False, is_fused=True),
    )
