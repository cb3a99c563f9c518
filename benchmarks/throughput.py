"""openai-whisper, faster-whisper and this project on the same recordings in the same run; `make bench`.

    python -m benchmarks.throughput --recordings FOLDER --faster-whisper .venv-bench/bin/python

FOLDER holds recordings and a manifest (see recordings.py). Writes its tables into docs/benchmarks.md with machine, date
and command, and what every run brought as JSON where --raw says. Nobody else should use the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import contenders as who
from benchmarks import throughput_tables
from benchmarks.contenders import Contender, Plan, measure_in_turns, running_contenders
from benchmarks.document import replace_between_markers
from benchmarks.machine import describe_machine
from benchmarks.measurement import Measurement
from benchmarks.recordings import Recording, long_recording, one_minute_recordings, read_recordings
from benchmarks.run_engine import BATCH_ENGINE
from config import load_settings

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
COUNTS = (1, 2, 4, 8, 16)
MORE_COUNTS = (32, 64)
COMPARED = 16
LONG_S = 480.0

Runs = dict[str, list[Measurement]]


@dataclass(frozen=True)
class ModelResult:
    """together: sixteen recordings at once. by_count: this project alone. alone: the long recording; empty when left
    out."""

    model: str
    together: Runs
    by_count: dict[int, Runs]
    alone: Runs


def measure_model(
    plan: Plan, model: str, minutes: Sequence[Recording], long: Recording, counts: Sequence[int], repetitions: int,
    tables: Sequence[int],
) -> ModelResult:  # fmt: skip
    compared = minutes[:COMPARED]
    together: Runs = {}
    by_count: dict[int, Runs] = {}
    alone: Runs = {}
    with running_contenders(plan, model, minutes[0]) as contenders:
        if 1 in tables:
            together = measure_in_turns(contenders, compared, repetitions)
        if 2 in tables:
            by_count = measure_counts(contenders, minutes, counts, repetitions, together)
        if 3 in tables:
            alone = measure_in_turns(contenders, [long], repetitions)
    return ModelResult(model, together, by_count, alone)


def measure_counts(
    contenders: Sequence[Contender],
    minutes: Sequence[Recording],
    counts: Sequence[int],
    repetitions: int,
    together: Runs,
) -> dict[int, Runs]:
    """This project in exact mode. What the first table measured already is taken from there."""
    ours = [one for one in contenders if one.name in (who.engine_name("exact"), who.server_name("exact"))]
    by_count = {}
    for count in counts:
        known = count == COMPARED and together
        by_count[count] = together if known else measure_in_turns(ours, minutes[:count], repetitions)
    return by_count


def report(
    results: Sequence[ModelResult], minutes: Sequence[Recording], long: Recording, plan: Plan, repetitions: int
) -> str:
    runs = "one run of each" if repetitions == 1 else f"medians of {repetitions} runs in turn"
    parts = [f"{describe_machine()}. {datetime.now(UTC):%Y-%m-%d}, {runs}.", _command(sys.argv[1:])]
    if plan.settings:
        parts.append(f"Server settings: {', '.join(f'`{name}={value}`' for name, value in plan.settings.items())}.")
    for result in results:
        if result.together:
            text = throughput_tables.comparison(result.together, minutes[:COMPARED], plan.modes)
            parts += [f"### {result.model}: {_about(minutes[:COMPARED])}", text]
            parts.append(throughput_tables.health(result.together))
    for result in results:
        if result.by_count:
            parts += [f"### {result.model}: tasks at once", throughput_tables.growth(result.by_count, minutes)]
    for result in results:
        if result.alone:
            text = throughput_tables.comparison(result.alone, [long], plan.modes)
            parts += [f"### {result.model}: {_about([long])}", text]
    return "\n\n".join(part for part in parts if part)


def _about(recordings: Sequence[Recording]) -> str:
    seconds = sum(recording.seconds for recording in recordings)
    joined = sum(len(recording.parts) > 1 for recording in recordings)
    made = f", {joined} of them joined from others" if joined and len(recordings) > 1 else ""
    if len(recordings) == 1:
        joined_from = f", joined from {len(recordings[0].parts)}" if joined else ""
        return f"one recording of {seconds:.0f} s{joined_from}"
    return f"{len(recordings)} recordings at once, {seconds:.0f} s{made}"


def _command(arguments: Sequence[str]) -> str:
    """Without where the raw results went: a path of one machine, and nothing of the measurement."""
    kept = [
        argument for place, argument in enumerate(arguments) if "--raw" not in arguments[max(0, place - 1) : place + 1]
    ]
    return f"`python -m benchmarks.throughput {shlex.join(kept)}`"


def raw_results(results: Sequence[ModelResult]) -> dict[str, object]:
    def dicts(runs: Mapping[str, Sequence[Measurement]]) -> dict[str, object]:
        return {name: [run.to_dict() for run in measurements] for name, measurements in runs.items()}

    return {
        result.model: {
            "together": dicts(result.together),
            "by_count": {count: dicts(runs) for count, runs in result.by_count.items()},
            "alone": dicts(result.alone),
        }
        for result in results
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--modes", nargs="*", default=["exact", "vad"], help="this project's")
    parser.add_argument("--tables", nargs="+", type=int, default=[1, 2, 3], help="1: sixteen, 2: growth, 3: long")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--faster-whisper", metavar="PYTHON", help="of an environment with benchmarks/requirements.txt")
    parser.add_argument("--engine", default=BATCH_ENGINE, help="MODULE:CLASS; empty: leave it out")
    parser.add_argument("--no-server", action="store_true", help="leave end to end out")
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="of the server; repeatable"
    )
    parser.add_argument("--cuda", action="store_true", help="on the first GPU, with 32 and 64 tasks too")
    parser.add_argument("--raw", type=Path, help="where to write every run as JSON")
    parser.add_argument("--print", action="store_true", help="print the tables and leave docs/benchmarks.md alone")
    return parser.parse_args()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server and the children are ended
    options = parse_arguments()
    counts = (*COUNTS, *MORE_COUNTS) if options.cuda else COUNTS
    most = max(counts) if 2 in options.tables else COMPARED
    own = {"ENGINE": "batch", "MAX_CONCURRENT_TASKS_LIMIT": str(most), "MAX_BATCH_SIZE": str(most)}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        plan = Plan(
            load_settings().models_dir,
            scratch,
            "cuda:0" if options.cuda else "cpu",
            options.faster_whisper,
            options.engine,
            has_server=not options.no_server,
            modes=tuple(options.modes),
            settings={**own, **dict(setting.split("=", 1) for setting in options.setting)},
        )
        recordings = read_recordings(options.recordings, scratch)
        minutes = one_minute_recordings(recordings, most, scratch)
        long = long_recording(recordings, minutes, LONG_S, scratch)
        results = [
            measure_model(plan, model, minutes, long, counts, options.repetitions, options.tables)
            for model in options.models
        ]
        text = report(results, minutes, long, plan, options.repetitions)
    print(text)
    if options.raw:
        options.raw.write_text(json.dumps(raw_results(results)))
    if not options.print:
        replace_between_markers(DOCUMENT, "throughput", text)


if __name__ == "__main__":
    main()
