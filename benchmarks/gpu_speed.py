"""Speed of the batch engine with models of any dimensions, whose weights are random; see random_model.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from whisper.model import Whisper

from benchmarks.child_process import Sound
from benchmarks.document import table
from benchmarks.measurement import Measurement
from benchmarks.random_model import OPTIONS, PROMPT, loaded_from_memory, random_model
from benchmarks.recordings import SAMPLE_RATE
from benchmarks.run_engine import make_engine, measure
from benchmarks.samples import read_samples
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import CrossForm, DecoderDims
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.worker.engine_protocol import Engine

WINDOW_S = 30
PROFILED_COUNTS = (16, 64)  # the profiler's events of each run take long to read
HEADS = ("", "tasks at once", "RTFx inside", "× openai-whisper", "windows/s", "tokens/window", "occupancy",
         "GPU idle", "cross-attention, TB/s")  # fmt: skip


@dataclass(frozen=True)
class SpeedPlan:
    """windows: of each task. upstream_windows: of the one recording that openai-whisper gets."""

    engine: str
    device: str
    counts: tuple[int, ...]
    windows: int
    upstream_windows: int
    tokens_per_window: int


@dataclass(frozen=True)
class SpeedResult:
    """runs: by number of tasks. idle: share of the time in which the GPU had nothing to do, by number of tasks; empty
    without a GPU. bandwidth: of cross-attention alone, bytes/s, by number of slots."""

    model: str
    plan: SpeedPlan
    upstream: Measurement
    runs: dict[int, Measurement]
    idle: dict[int, float]
    bandwidth: dict[int, float]


def measure_speed(name: str, dimensions: ModelDimensions, plan: SpeedPlan, scratch: Path) -> SpeedResult:
    """Everything about one model. scratch: for recordings of noise."""
    model = random_model(dimensions, plan.tokens_per_window, plan.device)
    long = noise(scratch / "upstream.pcm", plan.upstream_windows)
    upstream = run_upstream(model, long, plan.device)
    sounds = [noise(scratch / f"{number}.pcm", plan.windows, number) for number in range(max(plan.counts))]
    short = [noise(scratch / f"{number}-short.pcm", 1, number) for number in range(max(plan.counts))]
    with loaded_from_memory(plan.engine, {name: model}):
        engine = make_engine(plan.engine, plan.device)
        engine.load(name, scratch)
    del model
    measure(engine, name, short, OPTIONS)  # loads and chooses kernels; graphs are captured in every run anew
    runs, idle = {}, {}
    for count in plan.counts:
        runs[count] = measure(engine, name, sounds[:count], OPTIONS)
        if plan.device != "cpu" and count in PROFILED_COUNTS:
            idle[count] = idle_share(engine, name, short[:count])
    engine.unload(name)
    bandwidth = {count: cross_attention_bandwidth(dimensions, count, plan.device) for count in plan.counts}
    return SpeedResult(name, plan, upstream, runs, idle, bandwidth)


def run_upstream(model: Whisper, sound: Sound, device: str) -> Measurement:
    """`whisper.transcribe` with the same tokens to say."""
    samples = read_samples(sound.samples)
    options = {"language": "en", "temperature": 0.0, "initial_prompt": PROMPT, "fp16": device != "cpu"}
    model.transcribe(samples[: WINDOW_S * SAMPLE_RATE], **options)  # chooses kernels
    began = time.perf_counter()
    transcript = model.transcribe(samples, **options)
    seconds = time.perf_counter() - began
    tokens = sum(len(segment["tokens"]) for segment in transcript["segments"])
    windows = len({segment["seek"] for segment in transcript["segments"]})
    return Measurement(seconds, {}, 0, windows=windows, tokens=tokens)


def noise(path: Path, windows: int, seed: int = 0) -> Sound:
    samples = np.random.default_rng(seed).integers(-2000, 2000, size=windows * WINDOW_S * SAMPLE_RATE, dtype=np.int16)
    path.write_bytes(samples.tobytes())
    return Sound(path.stem, str(path))


def idle_share(engine: Engine, model: str, sounds: Sequence[Sound]) -> float:
    """Share of a run in which no kernel and no copy was at work on the GPU, so that the GPU waited for the host.

    The profiler slows the host, so the truth is a little better.
    """
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run = measure(engine, model, sounds, OPTIONS)
        torch.cuda.synchronize()
    ranges = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type == torch.profiler.DeviceType.CUDA
    )
    return 1 - covered(ranges) / 1e6 / run.seconds


def covered(ranges: Sequence[tuple[float, float]]) -> float:
    """Length of the union of (start, end), which are sorted by start."""
    total, until = 0.0, float("-inf")
    for start, end in ranges:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def cross_attention_bandwidth(dimensions: ModelDimensions, slots: int, device: str, repetitions: int = 20) -> float:
    """Bytes of keys and values a second that the engine's own cross-attention reads, all layers one after the other,
    launched as the engine launches them. Few slots fit the GPU's cache: only the figures of many are of its memory."""
    dims = dims_of(dimensions, device)
    cache = CrossCache.empty(dims, slots)
    cache.keys.normal_()
    cache.values.normal_()
    query = torch.randn(slots, dims.heads, 1, dims.head_size, device=device, dtype=dims.dtype)

    def attend_everywhere() -> None:
        for layer in range(dims.layers):
            cache.attend(layer, query)

    with torch.inference_mode():
        attend = _replayable(attend_everywhere, device)
        _wait_for(device)
        began = time.perf_counter()
        for _ in range(repetitions):
            attend()
        _wait_for(device)
        seconds = (time.perf_counter() - began) / repetitions
    return (cache.keys.nbytes + cache.values.nbytes) / seconds


def dims_of(dimensions: ModelDimensions, device: str) -> DecoderDims:
    """As the engine keeps it: fp16 on a GPU."""
    return DecoderDims(
        layers=dimensions.n_text_layer,
        heads=dimensions.n_text_head,
        head_size=dimensions.n_text_state // dimensions.n_text_head,
        state=dimensions.n_text_state,
        text_positions=dimensions.n_text_ctx,
        audio_positions=dimensions.n_audio_ctx,
        device=torch.device(device),
        dtype=torch.float32 if device == "cpu" else torch.float16,
        cross=CrossForm(are_keys_transposed=False, are_values_transposed=False, is_fused=True),
    )


def speed_table(results: Sequence[SpeedResult]) -> str:
    rows = []
    for result in results:
        upstream = result.plan.upstream_windows * WINDOW_S / result.upstream.seconds
        rows.append(
            [f"{result.model}, openai-whisper", "1", f"{upstream:.1f}", "1.0", *_work(result.upstream), "–", "–"]
        )
        for count, run in sorted(result.runs.items()):
            speed = _speed(result, count)
            idle = f"{100 * result.idle[count]:.0f} %" if count in result.idle else "–"
            bandwidth = f"{result.bandwidth[count] / 1e12:.3f}"
            rows.append(
                [f"{result.model}, batch engine", str(count), f"{speed:.1f}", f"{speed / upstream:.1f}", *_work(run),
                 idle, bandwidth]
            )  # fmt: skip
    return table(HEADS, rows)


def goals_table(results: Sequence[SpeedResult]) -> str:
    """What the largest number of tasks reaches, beside 16 of them and beside openai-whisper."""
    rows = []
    for result in results:
        most = max(result.runs)
        upstream = result.plan.upstream_windows * WINDOW_S / result.upstream.seconds
        at_most, at_16 = _speed(result, most), _speed(result, min(16, most))
        idle = f"{100 * result.idle[most]:.0f} %" if most in result.idle else "–"
        rows.append(
            [result.model, str(most), f"{at_most:.0f}", f"{at_most / upstream:.1f}", f"{100 * at_16 / at_most:.0f} %",
             idle, f"{result.bandwidth[most] / 1e12:.2f}"]
        )  # fmt: skip
    heads = ("", "tasks", "RTFx", "× openai-whisper", "16 tasks reach", "GPU idle", "cross-attention, TB/s")
    return table(heads, rows)


def _speed(result: SpeedResult, count: int) -> float:
    return count * result.plan.windows * WINDOW_S / result.runs[count].seconds


def _work(run: Measurement) -> list[str]:
    """windows/s, tokens/window, occupancy."""
    assert run.windows
    tokens = "–" if run.tokens is None else f"{run.tokens / run.windows:.0f}"
    occupancy = "–" if run.occupancy is None else f"{100 * run.occupancy:.0f} %"
    return [f"{run.windows / run.seconds:.1f}", tokens, occupancy]


def _replayable(work: Callable[[], None], device: str) -> Callable[[], None]:
    """On a GPU as a graph."""
    work()
    if device == "cpu":
        return work
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def _wait_for(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
