"""Where the time of one decoding step goes, and what an encoding and a prompt cost beside it.

    python -m benchmarks.profile_step --model tiny.en --rows 1 4 16

Every part is timed on its own, so on a GPU (where each is waited for) their sum is more than a step; the line `step`
is timed as a whole. Milliseconds; the median of --repeat runs. Real weights, noise for sound.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from typing import Any
from unittest import mock

import torch

from benchmarks.machine import describe_machine
from config import load_settings
from whisper_core.common.units import WINDOW_FRAMES
from whisper_core.engine.decoding import choosing
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.decoding.slot_batch import SlotBatch
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.executors import DECODER_PRIORITY, new_cuda_stream, on_cuda_stream
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt
from whisper_core.engine.network.layers import DecoderBlock, DecoderLayers, LayerNorm
from whisper_core.engine.network.self_attention import SelfCache
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.engine.window_memory import window_memory_for
from whisper_core.model_requests import DEFAULT_SETTINGS, Decode
from whisper_core.models.catalogue import model_info
from whisper_core.models.load import load_model
from whisper_core.upstream import place_on

PROMPT_LENGTHS = (4, 60, 227)


class Stopwatch:
    """Sums seconds by name; names end up in the order in which they first ran."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            began = self.now()
            result = call(*arguments, **keywords)
            self.seconds[name] += self.now() - began
            return result

        return run

    def now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def timed_layers(layers: DecoderLayers, watch: Stopwatch) -> DecoderLayers:
    """The same layers, each of whose parts is timed under its field's name."""

    def timed_block(block: DecoderBlock) -> DecoderBlock:
        parts: dict[str, Any] = {
            field.name: watch.timed(
                "layer norms" if isinstance(getattr(block, field.name), LayerNorm) else field.name.replace("_", " "),
                getattr(block, field.name),
            )
            for field in fields(block)
        }
        return replace(block, **parts)

    return replace(
        layers,
        blocks=tuple(timed_block(block) for block in layers.blocks),
        vocabulary=watch.timed("vocabulary", layers.vocabulary),
    )


@contextmanager
def timed_parts(watch: Stopwatch) -> Iterator[None]:
    """Everything of a step that is not a layer."""
    functions = [
        (CrossCache, "attend", "cross attention"),
        (SelfCache, "attend", "self attention"),
        (SelfCache, "write", "cache write"),
        (TokenRules, "apply", "token rules"),
        (choosing, "likeliest", "choosing"),
        (choosing, "logprob_of", "logprob"),
        (RowState, "commit", "row state"),
    ]
    with ExitStack() as patches:
        for owner, name, label in functions:
            patches.enter_context(mock.patch.object(owner, name, watch.timed(label, getattr(owner, name))))
        yield


def filled_batch(model: LoadedModel, layers: DecoderLayers, rows: int) -> SlotBatch:
    """`rows` windows of noise that have just read a prompt."""
    with mock.patch.object(model, "decoder", replace(model.decoder, layers=layers)):
        memory = window_memory_for(model, SlotLimit(rows, 1))
        batch = memory.slot_batch(SlotKind())
    for number in range(rows):
        places = memory.places(1)
        (cross,) = memory.encode([torch.randn(model.traits.n_mels, WINDOW_FRAMES)], places).cross
        window = EncodedWindow(mock.Mock(), own_cross=cross, place=places[0])
        request = Decode(window, tuple(range(1000, 1040)), "en", "transcribe", 0.0, number, DEFAULT_SETTINGS)
        batch.add(model.sequence(request, owner=None, task_seed=0))
    for sequences in batch.prompts_to_read():
        batch.read_prompts(sequences)
    return batch


def step_times(model: LoadedModel, rows: int, repeat: int) -> dict[str, float]:
    """Median milliseconds by part; `step` is the whole, timed without the others' watches."""
    whole = _medians(model, model.decoder.layers, rows, repeat, Stopwatch(model.decoder.dims.device), timed_as="step")
    watch = Stopwatch(model.decoder.dims.device)
    with timed_parts(watch):
        parts = _medians(model, timed_layers(model.decoder.layers, watch), rows, repeat, watch)
    return {**whole, **parts}


def _medians(
    model: LoadedModel, layers: DecoderLayers, rows: int, repeat: int, watch: Stopwatch, *, timed_as: str = ""
) -> dict[str, float]:
    batch = filled_batch(model, layers, rows)
    step = watch.timed(timed_as, batch.step) if timed_as else batch.step
    samples: dict[str, list[float]] = defaultdict(list)
    step()  # the first one is slower
    for _ in range(repeat):
        watch.seconds.clear()
        step()
        for name, seconds in watch.seconds.items():
            samples[name].append(seconds * 1e3)
    return {name: statistics.median(values) for name, values in samples.items()}


def encoding_times(model: LoadedModel, repeat: int) -> dict[str, float]:
    watch = Stopwatch(model.decoder.dims.device)
    mel = torch.randn(1, model.traits.n_mels, WINDOW_FRAMES)
    encode = watch.timed("encode", model.encoder.encode)
    samples = []
    for _ in range(max(2, repeat // 10)):
        watch.seconds.clear()
        cross = encode(mel)
        samples.append(watch.seconds["encode"] * 1e3)
    times = {"encode": statistics.median(samples)}
    for length in PROMPT_LENGTHS:
        tokens = torch.full((1, length), 1000, device=model.decoder.dims.device)
        wanted = torch.tensor([[0, length - 1]], device=model.decoder.dims.device)
        prompt = watch.timed("prompt", run_prompt)
        watch.seconds.clear()
        for _ in range(3):
            prompt(model.decoder.layers, tokens, cross, wanted=wanted)
        times[f"prompt of {length}"] = watch.seconds["prompt"] / 3 * 1e3
    return times


def loaded(name: str, device: torch.device) -> LoadedModel:
    model = place_on(load_model(name, load_settings().models_dir, "cpu"), device)
    return LoadedModel(model, model_info(name).precision)


def table(columns: dict[str, dict[str, float]]) -> str:
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    lines = [f"| ms | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for name in names:
        cells = " | ".join(f"{column[name]:.2f}" if name in column else "" for column in columns.values())
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--repeat", type=int, default=40)
    options = parser.parse_args()
    device = torch.device(options.device)
    print(describe_machine())
    # On the default stream no graph can be captured, and none is when parts are timed, since those are waited for.
    with torch.inference_mode(), on_cuda_stream(new_cuda_stream(device, DECODER_PRIORITY)):
        model = loaded(options.model, device)
        for threads in options.threads if device.type == "cpu" else [1]:
            torch.set_num_threads(threads)
            print(f"\n{options.model}, {device}, {threads} thread(s)\n")
            columns = {f"{rows} rows": step_times(model, rows, options.repeat) for rows in options.rows}
            print(table(columns), flush=True)
            print("\n" + table({"one window": encoding_times(model, options.repeat)}), flush=True)


if __name__ == "__main__":
    main()
