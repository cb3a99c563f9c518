"""Word error rates of `mode=vad` with and without beam search, on the recordings of `benchmarks.throughput`.

    python -m benchmarks.beams --recordings FOLDER --models tiny.en base

FOLDER holds recordings and a manifest (see recordings.py). The engine is driven without the server around it. Seconds
and memory are printed for orientation only: other programs may use the machine meanwhile.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.child_process import Sound
from benchmarks.machine import describe_machine
from benchmarks.run_engine import BATCH_ENGINE, make_engine, measure
from benchmarks.scores import normalised_error_rate
from benchmarks.throughput import make_sets
from config import load_settings
from whisper_core.text.options import TranscribeOptions

SETS = ("long", "clips")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--beam-sizes", nargs="+", type=int, default=[5], help="besides no beams")
    options = parser.parse_args()
    print(describe_machine())
    print("| model | recordings | beams | word errors | seconds | MB at most |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        sets, _ = make_sets(SETS, options.recordings, Path(scratch))
        for model in options.models:
            engine = make_engine(BATCH_ENGINE, "cpu")
            engine.load(model, load_settings().models_dir)
            for name, recordings in sets.items():
                sounds = [Sound(recording.name, str(recording.samples_path)) for recording in recordings]
                for beams in (None, *options.beam_sizes):
                    run = measure(engine, model, sounds, TranscribeOptions(mode="vad", beam_size=beams))
                    rate = normalised_error_rate(recordings, run.texts)
                    figures = f"{rate:.4f} | {run.seconds:.1f} | {(run.peak_bytes or 0) / 1e6:.0f}"
                    print(f"| {model} | {name} | {beams or 'none'} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
