"""Everything about a GPU in one call under ten minutes: first whether the texts are right, then the speed.

    python -m benchmarks.cuda_all --recordings FOLDER

Correctness needs the weights of tiny.en and base, and leaves out what is not there. Speed is that of models of the
dimensions of turbo and large-v3 with random weights. `--smoke` runs all of it on the CPU with a tiny network, to see
that it runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.document import replace_between_markers
from benchmarks.gpu_correctness import correctness_row, correctness_table
from benchmarks.gpu_speed import SpeedPlan, SpeedResult, goals_table, measure_speed, speed_table
from benchmarks.machine import describe_machine
from benchmarks.recordings import one_minute_recordings, read_recordings
from benchmarks.run_engine import BATCH_ENGINE
from benchmarks.throughput import DOCUMENT, ROOT
from config import load_settings
from errors import ModelUnavailableError
from whisper_core.model_catalogue import ModelDimensions, model_info

COUNTS = (1, 2, 4, 8, 16, 32, 64)
TOKENS_PER_WINDOW = 100  # about what a window of speech has
FULL_PLAN = SpeedPlan(
    BATCH_ENGINE, "cuda:0", COUNTS, windows=4, upstream_windows=4, tokens_per_window=TOKENS_PER_WINDOW
)
SMOKE_PLAN = SpeedPlan(BATCH_ENGINE, "cpu", (1, 2), windows=2, upstream_windows=2, tokens_per_window=5)
SMOKE_STATE = 64


def smoke_dimensions() -> ModelDimensions:
    """Whisper's vocabulary and positions in a narrow and shallow network."""
    small = {"n_audio_state": SMOKE_STATE, "n_text_state": SMOKE_STATE}
    few = dict.fromkeys(("n_audio_head", "n_text_head", "n_audio_layer", "n_text_layer"), 2)
    return replace(model_info("tiny").dimensions, **small, **few)


def run(recordings: Path | None, names: list[str], *, is_smoke: bool) -> str:
    """names: of the models whose dimensions are measured. recordings: None leaves the texts out."""
    parts = [
        f"{describe_machine()}. {datetime.now(UTC):%Y-%m-%d}.",
        f"`python -m benchmarks.cuda_all {' '.join(sys.argv[1:])}`",
    ]
    plan = SMOKE_PLAN if is_smoke else FULL_PLAN
    if recordings is not None and (table := check_texts(recordings, plan.device)):
        parts += ["### Texts: sixteen recordings at once beside each alone by openai-whisper's functions, fp16", table]
    results: list[SpeedResult] = []
    for name in names:
        dimensions = smoke_dimensions() if is_smoke else model_info(name).dimensions
        with tempfile.TemporaryDirectory() as scratch:
            results.append(measure_speed(name, dimensions, plan, Path(scratch)))
        print(speed_table(results[-1:]), file=sys.stderr, flush=True)  # should the time run out later
    title = f"### Speed: random weights, {plan.windows} windows a task, {plan.tokens_per_window} tokens a window"
    return "\n\n".join([*parts, title, speed_table(results), goals_table(results)])


def check_texts(folder: Path, device: str) -> str:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        minutes = one_minute_recordings(read_recordings(folder, Path(scratch)), 16, Path(scratch))
        for model in ("tiny.en", "base"):
            try:
                rows.append(correctness_row(BATCH_ENGINE, model, load_settings().models_dir, minutes, device))
            except ModelUnavailableError as error:
                print(error, file=sys.stderr)
    return correctness_table(rows) if rows else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--models", nargs="+", default=["turbo", "large-v3"])
    parser.add_argument("--smoke", action="store_true", help="on the CPU, with a tiny network")
    parser.add_argument("--no-texts", action="store_true", help="speed only")
    parser.add_argument("--print", action="store_true", help="print the tables and leave docs/benchmarks.md alone")
    options = parser.parse_args()
    if not options.smoke and not torch.cuda.is_available():
        parser.error("there is no GPU here; --smoke runs without one")
    recordings = None if options.no_texts or options.smoke else options.recordings
    text = run(recordings, options.models, is_smoke=options.smoke)
    print(text)
    if not options.print and not options.smoke:
        replace_between_markers(DOCUMENT, "cuda", text)


if __name__ == "__main__":
    main()
