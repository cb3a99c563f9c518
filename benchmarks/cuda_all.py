"""Everything about a GPU in one call under ten minutes: whether the texts are right, the speed, the memory, the server.

    python -m benchmarks.cuda_all [PART …] --recordings FOLDER

PART: texts, speed, memory, server; without one, all of them. Texts and server need the weights of tiny.en and base.
Speed and memory are those of random weights in the dimensions of real models; `--smoke` runs these two on the CPU with
a tiny network, to see that they run: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.document import replace_between_markers
from benchmarks.gpu_correctness import correctness_row, correctness_table
from benchmarks.gpu_memory import MemoryRow, context_line, measure_memory, memory_table
from benchmarks.gpu_server import measure_server
from benchmarks.gpu_speed import SpeedPlan, SpeedResult, goals_table, measure_speed, speed_table
from benchmarks.machine import describe_machine
from benchmarks.recordings import one_minute_recordings, read_recordings
from benchmarks.run_engine import BATCH_ENGINE
from benchmarks.scheduling.tables import real_table
from benchmarks.throughput import DOCUMENT, ROOT
from config import load_settings
from errors import ModelUnavailableError
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.models.catalogue import model_info

DEVICE = "cuda:0"
RESULTS = ROOT / "docs" / "scheduling" / "cuda.json"
MEMORY_MODELS = ("tiny.en", "base", "small", "medium", "turbo", "large-v3")
MEMORY_COUNTS = (1, 16, 64)
COUNTS = (1, 2, 4, 8, 16, 32, 64)
TOKENS_PER_WINDOW = 100  # about what a window of speech has
FULL_PLAN = SpeedPlan(BATCH_ENGINE, DEVICE, COUNTS, windows=4, upstream_windows=4, tokens_per_window=TOKENS_PER_WINDOW)
SMOKE_PLAN = SpeedPlan(BATCH_ENGINE, "cpu", (1, 2), windows=2, upstream_windows=2, tokens_per_window=5)
SMOKE_STATE = 64


def smoke_dimensions() -> ModelDimensions:
    """Whisper's vocabulary and positions in a narrow and shallow network."""
    small = {"n_audio_state": SMOKE_STATE, "n_text_state": SMOKE_STATE}
    few = dict.fromkeys(("n_audio_head", "n_text_head", "n_audio_layer", "n_text_layer"), 2)
    return replace(model_info("tiny").dimensions, **small, **few)


def run(options: argparse.Namespace, scratch: Path) -> str:
    """The tables of the parts that were asked for."""
    texts = [f"{describe_machine()}. {datetime.now(UTC):%Y-%m-%d}."]
    if not options.smoke:
        texts.append(context_line(DEVICE))  # before anything else touches the device
    for part in options.parts or PARTS:
        began = time.perf_counter()
        folder = scratch / part
        folder.mkdir()
        texts.append(PARTS[part](options, folder))
        print(f"{texts[-1]}\n{part}: {time.perf_counter() - began:.0f} s", flush=True)  # should the time run out later
    return "\n\n".join(texts)


def check_texts(options: argparse.Namespace, scratch: Path) -> str:
    minutes = one_minute_recordings(read_recordings(options.recordings, scratch), 16, scratch)
    rows = []
    for model in ("tiny.en", "base"):
        try:
            rows.append(correctness_row(BATCH_ENGINE, model, models_dir(), minutes, DEVICE))
        except ModelUnavailableError as error:
            print(error, file=sys.stderr)
    title = "### Texts: sixteen recordings at once beside each alone by openai-whisper's functions, fp16"
    return f"{title}\n\n{correctness_table(rows)}"


def check_speed(options: argparse.Namespace, scratch: Path) -> str:
    plan = SMOKE_PLAN if options.smoke else FULL_PLAN
    results: list[SpeedResult] = []
    for name in options.models:
        dimensions = smoke_dimensions() if options.smoke else model_info(name).dimensions
        results.append(measure_speed(name, dimensions, plan, scratch))
    title = f"### Speed: random weights, {plan.windows} windows a task, {plan.tokens_per_window} tokens a window"
    return "\n\n".join([title, speed_table(results), goals_table(results)])


def check_memory(options: argparse.Namespace, scratch: Path) -> str:
    rows: list[MemoryRow] = []
    for name in ["tiny"] if options.smoke else MEMORY_MODELS:
        device, counts = ("cpu", (1, 2)) if options.smoke else (DEVICE, MEMORY_COUNTS)
        rows += measure_memory(name, model_info(name).dimensions, device, counts, scratch)
    return f"### Memory: reserved and measured, random weights\n\n{memory_table(rows)}"


def check_server(options: argparse.Namespace, scratch: Path) -> str:
    found = measure_server(options.recordings, models_dir(), scratch)
    RESULTS.write_text(json.dumps({"machine": describe_machine(), **found}, indent=1) + "\n")
    return f"### Server\n\n{real_table(found)}"


def models_dir() -> Path:
    return load_settings().models_dir.resolve()


PARTS: Mapping[str, Callable[[argparse.Namespace, Path], str]] = {
    "texts": check_texts,
    "speed": check_speed,
    "memory": check_memory,
    "server": check_server,
}
SMOKE_PARTS = ("speed", "memory")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--models", nargs="+", default=["turbo", "large-v3"], help="whose speed is measured")
    parser.add_argument("--smoke", action="store_true", help="on the CPU, with a tiny network")
    parser.add_argument("--print", action="store_true", help="print the tables and leave docs/benchmarks.md alone")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there are no such parts: {', '.join(sorted(unknown))}")
    if options.smoke:
        options.parts = [part for part in options.parts or SMOKE_PARTS if part in SMOKE_PARTS]
    elif not torch.cuda.is_available():
        parser.error("there is no GPU here; --smoke runs without one")
    return options


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        text = run(options, Path(scratch))
    if not options.print and not options.smoke:
        replace_between_markers(DOCUMENT, "cuda", text)


if __name__ == "__main__":
    main()
