"""This project beside others at the same precision, on the same recordings in the same run; `make bench`.

    python -m benchmarks.throughput --recordings FOLDER --peers .venv-bench/bin/python

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
from benchmarks.contenders import Contender, Plan, measure_in_turns, median_run, running_contenders
from benchmarks.document import replace_between_markers, require_markers
from benchmarks.machine import describe_machine
from benchmarks.measurement import Measurement, Text
from benchmarks.peers import OPENAI, Precision, available, installed_versions
from benchmarks.recordings import Recording, long_recording, one_minute_recordings, read_recordings, short_clips
from benchmarks.run_engine import BATCH_ENGINE
from config import load_settings

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
SETS = ("minutes", "clips", "long")
COUNTS = (1, 2, 4, 8, 16)
MINUTES = 16
CLIPS = 40
LONG_S = 480.0

Runs = dict[str, list[Measurement]]


@dataclass(frozen=True)
class Result:
    """One model at one precision. by_set: everyone. by_count: this project alone; empty when not asked for."""

    model: str
    precision: Precision
    by_set: dict[str, Runs]
    by_count: dict[int, Runs]

    @property
    def marker(self) -> str:
        """Of its place in the document."""
        return marker(self.model, self.precision)


@dataclass(frozen=True)
class Wanted:
    """sets: the recordings of each. versions: of the peers' packages."""

    sets: Mapping[str, Sequence[Recording]]
    minutes: Sequence[Recording]
    has_growth: bool
    repetitions: int
    versions: Mapping[str, str]


def marker(model: str, precision: Precision) -> str:
    return f"throughput {model} {precision}"


def measure(plan: Plan, wanted: Wanted, model: str, precision: Precision) -> Result:
    peers = available(precision, wanted.versions)
    print(f"{model}, {precision}: {', '.join(peer.name for peer in peers)}", file=sys.stderr, flush=True)
    by_set = {}
    by_count: dict[int, Runs] = {}
    with running_contenders(plan, peers, model, precision, wanted.minutes[0]) as contenders:
        for name, recordings in wanted.sets.items():
            by_set[name] = measure_in_turns(contenders, recordings, wanted.repetitions)
        if wanted.has_growth:
            by_count = measure_counts(contenders, wanted, by_set.get("minutes"))
    return Result(model, precision, by_set, by_count)


def measure_counts(contenders: Sequence[Contender], wanted: Wanted, together: Runs | None) -> dict[int, Runs]:
    """This project in exact mode. What the set of minutes measured already is taken from there."""
    ours = [one for one in contenders if one.name in (who.engine_name("exact"), who.server_name("exact"))]
    by_count = {}
    for count in COUNTS:
        known = together if count == MINUTES else None
        by_count[count] = known or measure_in_turns(ours, wanted.minutes[:count], wanted.repetitions)
    return by_count


def report(result: Result, plan: Plan, wanted: Wanted, upstream: Mapping[str, Mapping[str, Text]]) -> str:
    """upstream: openai-whisper's texts by the name of the set, as far as it was measured."""
    repetitions = wanted.repetitions
    runs = "one run of each" if repetitions == 1 else f"medians of {repetitions} runs in turn"
    peers = "".join(f", {name} {version}" for name, version in wanted.versions.items())
    parts = [f"{describe_machine()}{peers}. {datetime.now(UTC):%Y-%m-%d}, {runs}.", _command(sys.argv[1:])]
    if plan.settings and plan.modes:
        parts.append(f"Server settings: {', '.join(f'`{name}={value}`' for name, value in plan.settings.items())}.")
    title = f"{result.model}, {result.precision}"
    for name, measured in result.by_set.items():
        recordings = wanted.sets[name]
        parts += [
            f"### {title}: {_about(recordings)}",
            throughput_tables.comparison(measured, recordings, plan.modes, upstream.get(name)),
            throughput_tables.spread(measured),
            throughput_tables.health(measured),
        ]
    if result.by_count:
        parts += [f"### {title}: tasks at once", throughput_tables.growth(result.by_count, wanted.minutes)]
    return "\n\n".join(part for part in parts if part)


def upstream_texts(results: Sequence[Result], model: str) -> dict[str, Mapping[str, Text]]:
    """openai-whisper's, by the name of the set; nothing where it was not measured."""
    return {
        name: median_run(runs[OPENAI]).texts
        for result in results
        if result.model == model
        for name, runs in result.by_set.items()
        if OPENAI in runs
    }


def _about(recordings: Sequence[Recording]) -> str:
    seconds = sum(recording.seconds for recording in recordings)
    names = {recording.name for recording in recordings if recording.parts != (recording.name,)}
    made = f", {len(names)} of them made from others" if names and len(recordings) > 1 else ""
    if len(recordings) == 1:
        joined_from = f", joined from {len(recordings[0].parts)}" if names else ""
        return f"one recording of {seconds:.0f} s{joined_from}"
    return f"{len(recordings)} recordings at once, {seconds:.0f} s{made}"


def _command(arguments: Sequence[str]) -> str:
    """Without where the raw results went: a path of one machine, and nothing of the measurement."""
    kept = [
        argument for place, argument in enumerate(arguments) if "--raw" not in arguments[max(0, place - 1) : place + 1]
    ]
    return f"`python -m benchmarks.throughput {shlex.join(kept)}`"


def raw_results(results: Sequence[Result]) -> list[dict[str, object]]:
    def dicts(runs: Mapping[str, Sequence[Measurement]]) -> dict[str, object]:
        return {name: [run.to_dict() for run in measurements] for name, measurements in runs.items()}

    return [
        {
            "model": result.model,
            "precision": result.precision,
            "by_set": {name: dicts(runs) for name, runs in result.by_set.items()},
            "by_count": {count: dicts(runs) for count, runs in result.by_count.items()},
        }
        for result in results
    ]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    parser.add_argument("--precision", nargs="+", type=Precision, default=list(Precision), help="fp32, int8")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--modes", nargs="*", default=["exact", "vad"], help="this project's; none: leave it out")
    parser.add_argument("--growth", action="store_true", help="this project with 1 to 16 tasks at once, too")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--peers", metavar="PYTHON", help="of an environment with benchmarks/requirements*.txt")
    parser.add_argument("--engine", default=BATCH_ENGINE, help="MODULE:CLASS; empty: leave it out")
    parser.add_argument("--no-server", action="store_true", help="leave end to end out")
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="of the server; repeatable"
    )
    parser.add_argument("--raw", type=Path, help="where to write every run as JSON")
    parser.add_argument("--print", action="store_true", help="print the tables and leave docs/benchmarks.md alone")
    return parser.parse_args()


def make_sets(names: Sequence[str], folder: Path, scratch: Path) -> tuple[dict[str, list[Recording]], list[Recording]]:
    """The recordings of each set, and sixteen of a minute, which are there in any case."""
    recordings = read_recordings(folder, scratch)
    minutes = one_minute_recordings(recordings, MINUTES, scratch)
    sets = {"minutes": minutes}
    if "clips" in names:
        sets["clips"] = short_clips(recordings, CLIPS, scratch)
    if "long" in names:
        sets["long"] = [long_recording(recordings, minutes, LONG_S, scratch)]
    return {name: sets[name] for name in names}, minutes


def make_plan(options: argparse.Namespace, scratch: Path) -> Plan:
    own = {"ENGINE": "batch", "MAX_CONCURRENT_TASKS_LIMIT": str(MINUTES), "MAX_BATCH_SIZE": str(MINUTES)}
    return Plan(
        load_settings().models_dir,
        scratch,
        options.peers,
        options.engine,
        has_server=not options.no_server,
        modes=tuple(options.modes),
        settings={**own, **dict(setting.split("=", 1) for setting in options.setting)},
    )


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server and the children are ended
    options = parse_arguments()
    pairs = [(model, precision) for model in options.models for precision in options.precision]
    if not options.print:
        require_markers(DOCUMENT, [marker(model, precision) for model, precision in pairs])
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        plan = make_plan(options, scratch)
        sets, minutes = make_sets(options.sets, options.recordings, scratch)
        wanted = Wanted(sets, minutes, options.growth, options.repetitions, installed_versions(options.peers))
        results: list[Result] = []
        for model, precision in pairs:
            result = measure(plan, wanted, model, precision)
            results.append(result)
            text = report(result, plan, wanted, upstream_texts(results, model))
            print(text, flush=True)
            if options.raw:
                options.raw.write_text(json.dumps(raw_results(results)))
            if not options.print:
                replace_between_markers(DOCUMENT, result.marker, text)


if __name__ == "__main__":
    main()
