"""Measures the simulation's input: speeds, the gain of several tasks at once, loading times, openai-whisper in several
processes.

    python -m benchmarks.scheduling.measure_service --recordings FOLDER

Writes benchmarks/scheduling/service.json. Nobody else should use the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.child_process import Sound
from benchmarks.machine import describe_machine
from benchmarks.recordings import Recording, one_minute_recordings, read_recordings
from benchmarks.run_engine import BATCH_ENGINE, make_engine, measure
from benchmarks.samples import read_samples
from config import load_settings
from whisper_core.text.options import TranscribeOptions

FILE = Path(__file__).with_name("service.json")
COUNTS = (1, 2, 4, 8, 16)
MODELS = ("tiny.en", "base")
LEAST_RECORDINGS = 4  # in a measurement, so that no single recording decides it
UPSTREAM_PROCESSES = (1, 2)


def measure_model(model: str, models_dir: Path, minutes: Sequence[Recording]) -> dict[str, Any]:
    """speed: with one task at a time. gain: pairs of tasks at once and the speed then, relative to that."""
    engine = make_engine(BATCH_ENGINE, "cpu")
    began = time.perf_counter()
    engine.load(model, models_dir)
    load_seconds = time.perf_counter() - began
    measure(engine, model, [_sound(minutes[0])], TranscribeOptions())
    speeds = {count: _speed(engine, model, minutes, count) for count in COUNTS}
    engine.unload(model)
    return {
        "speed": round(speeds[1], 2),
        "gain": [[count, round(speed / speeds[1], 3)] for count, speed in speeds.items()],
        "load_seconds": round(load_seconds, 2),
    }


def _speed(engine: Any, model: str, minutes: Sequence[Recording], count: int) -> float:
    """Seconds of sound per second with `count` tasks at once."""
    seconds = audio = 0.0
    for begin in range(0, max(LEAST_RECORDINGS, count), count):
        chosen = minutes[begin : begin + count]
        seconds += measure(engine, model, [_sound(each) for each in chosen], TranscribeOptions()).seconds
        audio += sum(each.seconds for each in chosen)
    return audio / seconds


def _sound(recording: Recording) -> Sound:
    return Sound(recording.name, str(recording.samples_path))


def measure_upstream(model: str, models_dir: Path, minutes: Sequence[Recording], processes: int) -> float:
    """Seconds of sound per second of several processes of openai-whisper, each with its part of the cores.

    The slowest one counts.
    """
    share = LEAST_RECORDINGS // processes
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.scheduling.measure_service", "--upstream", model, str(models_dir)]
            + [str(processes)] + [str(each.samples_path) for each in minutes[number * share : (number + 1) * share]],
            stdout=subprocess.PIPE, text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    seconds = max(float(child.communicate()[0].split()[-1]) for child in children)
    return sum(each.seconds for each in minutes[:LEAST_RECORDINGS]) / seconds


def upstream_child(arguments: Sequence[str]) -> None:
    """Prints the seconds that whisper.transcribe took for the recordings once the model was loaded and warm."""
    import torch
    import whisper

    from whisper_core.models.load import load_model

    model_name, models_dir, processes, *files = arguments
    torch.set_num_threads(max(1, torch.get_num_threads() // int(processes)))
    model = load_model(model_name, Path(models_dir), "cpu")
    sounds = [read_samples(file) for file in files]
    whisper.transcribe(model, sounds[0][: 16_000 * 5], fp16=False)
    began = time.perf_counter()
    for sound in sounds:
        whisper.transcribe(model, sound, fp16=False)
    print(time.perf_counter() - began)


def main() -> None:
    if sys.argv[1:2] == ["--upstream"]:
        upstream_child(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recordings", type=Path, default=Path("tests/data"))
    options = parser.parse_args()
    models_dir = load_settings().models_dir.resolve()
    with tempfile.TemporaryDirectory() as folder:
        minutes = one_minute_recordings(read_recordings(options.recordings, Path(folder)), max(COUNTS), Path(folder))
        models = {model: measure_model(model, models_dir, minutes) for model in MODELS}
        for model in MODELS:
            models[model]["upstream"] = [
                [count, round(measure_upstream(model, models_dir, minutes, count), 2)] for count in UPSTREAM_PROCESSES
            ]
    FILE.write_text(
        json.dumps({"machine": describe_machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}", "models": models}, indent=2)
        + "\n"
    )
    print(FILE.read_text())


if __name__ == "__main__":
    main()
