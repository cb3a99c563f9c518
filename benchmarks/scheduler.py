"""What the scheduler is worth, simulated and for real; `make bench-scheduler`.

    python -m benchmarks.scheduler PART … [--recordings FOLDER] [--plots PYTHON]

PART: simulation, one_place, million, scale, rounds, loop, decisions, startup, real, minutes; without one, all of
them. Each keeps what it found in docs/scheduling/, and the tables of docs/scheduling.md and docs/scale.md are written
anew. --plots: of an environment with matplotlib, for the pictures. Nobody else should use the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.document import replace_between_markers
from benchmarks.machine import describe_machine
from benchmarks.recordings import one_minute_recordings, read_recordings
from benchmarks.scheduling import loop_costs, scale, scenarios, tables
from benchmarks.scheduling.decision_times import decision_seconds
from benchmarks.scheduling.real_trace import make_trace, run_all
from benchmarks.scheduling.startup import start_seconds
from config import load_settings

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "scheduling.md"
OTHER_DOCUMENTS = dict.fromkeys(("scale", "rounds", "loop"), ROOT / "docs" / "scale.md")
RESULTS = ROOT / "docs" / "scheduling"
WAITING = (1_000, 10_000, 100_000)
STARTS = 5
MINUTES = 16  # different recordings of a minute; a trace has each several times
ROUND_CARDS, ROUND_SPEEDS = (100, 300, 1000), (50.0, 1000.0)
ROUND_LOAD, ROUND_TASKS = 0.5, 20_000  # so that hardly a task has to wait for a place
REAL_MODELS = ("tiny.en", "base")


def simulation(options: argparse.Namespace) -> dict[str, Any]:
    service, document = scenarios.read_service()
    by_name = scenarios.schemes(service, document)
    return {
        "service": document,
        "light": [asdict(row) for row in scenarios.light_rows(service, by_name, options.tasks)],
        "heavy": [asdict(row) for row in scenarios.heavy_rows(service, by_name, options.tasks)],
        "four": [asdict(row) for row in scenarios.four_card_rows(service, by_name, options.tasks)],
    }


def one_place(options: argparse.Namespace) -> dict[str, Any]:
    service, _document = scenarios.read_service()
    return {
        "machines": {
            str(speed): [asdict(row) for row in scenarios.one_place_rows(service, options.tasks, speed)]
            for speed in scenarios.ONE_PLACE_SPEEDS
        }
    }


def million(options: argparse.Namespace) -> dict[str, Any]:
    service, document = scenarios.read_service()
    rows = scenarios.million_rows(service, scenarios.schemes(service, document), options.million_tasks)
    return {"rows": [asdict(row) for row in rows]}


def scaling(options: argparse.Namespace) -> dict[str, Any]:
    service, document = scenarios.read_service()
    counts = options.scale_tasks * (len(options.cards) if len(options.scale_tasks) == 1 else 1)
    specs = [
        scale.ScaleSpec(cards, tasks, options.card_speed, options.load, options.round_interval)
        for cards, tasks in zip(options.cards, counts, strict=True)
    ]
    return {"service": document, "rows": [asdict(row) for row in scale.run_all(specs, service)]}


def rounds(_: argparse.Namespace) -> dict[str, Any]:
    service, _document = scenarios.read_service()
    specs = [scale.ScaleSpec(cards, ROUND_TASKS, speed, ROUND_LOAD) for cards in ROUND_CARDS for speed in ROUND_SPEEDS]
    return {"rows": [asdict(scale.round_costs(spec, service)) for spec in specs]}


def loop(options: argparse.Namespace) -> dict[str, Any]:
    service, _document = scenarios.read_service()
    return {"rows": [asdict(loop_costs.measure(cards, service)) for cards in options.cards]}


def decisions(_: argparse.Namespace) -> dict[str, Any]:
    service, _document = scenarios.read_service()
    return {"seconds": {str(count): decision_seconds(service, count) for count in WAITING}}


def startup(_: argparse.Namespace) -> dict[str, Any]:
    models_dir = load_settings().models_dir.resolve()
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            str(count): [start_seconds(Path(folder) / str(number), count, models_dir) for number in range(STARTS)]
            for count in (0, *WAITING)
        }
    return {"seconds": runs}


def real(options: argparse.Namespace) -> dict[str, Any]:
    """Most recordings are short, some are joined from several, as they are in a queue of messages."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        recordings = read_recordings(options.recordings, scratch)
        uploads = make_trace(recordings, REAL_MODELS, options.uploads, scratch, seed=options.seed)
        return run_all(uploads, load_settings().models_dir.resolve(), scratch)


def minutes(options: argparse.Namespace) -> dict[str, Any]:
    """Each about a minute long, so that windows are full of speech."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        recordings = one_minute_recordings(read_recordings(options.recordings, scratch), MINUTES, scratch)
        uploads = make_trace(recordings, REAL_MODELS, options.uploads, scratch, seed=options.seed, parts=(1,))
        return run_all(uploads, load_settings().models_dir.resolve(), scratch)


PARTS: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "simulation": simulation,
    "one_place": one_place,
    "million": million,
    "scale": scaling,
    "rounds": rounds,
    "loop": loop,
    "decisions": decisions,
    "startup": startup,
    "real": real,
    "minutes": minutes,
}


def keep(part: str, found: dict[str, Any], arguments: Sequence[str]) -> None:
    RESULTS.mkdir(exist_ok=True)
    about = {
        "command": f"python -m benchmarks.scheduler {shlex.join(arguments)}".strip(),
        "machine": describe_machine(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    (RESULTS / f"{part}.json").write_text(json.dumps({**about, **found}, indent=1) + "\n")


def without_plots(arguments: Sequence[str], plots: str | None) -> list[str]:
    """They say where this machine has matplotlib, which changes no figure."""
    return [each for each in arguments if each not in ("--plots", plots)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--uploads", type=int, default=40, help="of each real trace")
    parser.add_argument("--seed", type=int, default=4, help="of the real traces")
    parser.add_argument("--tasks", type=int, default=5_000, help="of each simulation")
    parser.add_argument("--million-tasks", type=int, default=1_000_000, help="of the long simulation")
    parser.add_argument(
        "--cards", type=int, nargs="+", default=[1, 10, 100, 1000], help="of each run of `scale` and `loop`"
    )
    parser.add_argument(
        "--scale-tasks", type=int, nargs="+", default=[100_000], help="of each run of `scale`, or of all"
    )
    parser.add_argument("--card-speed", type=float, default=50.0, help="seconds of sound that a card does per second")
    parser.add_argument("--load", type=float, default=scale.LOAD, help="of what the cards get done")
    parser.add_argument("--round-interval", type=float, default=0.5, help="simulated seconds between rounds, at least")
    parser.add_argument("--plots", metavar="PYTHON", help="of an environment with matplotlib")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there are no such parts: {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    options = parse_arguments()
    for part in options.parts or PARTS:
        print(f"{part} …", flush=True)
        keep(part, PARTS[part](options), without_plots(sys.argv[1:], options.plots))
    for part in PARTS:
        if (RESULTS / f"{part}.json").exists():
            text = tables.WRITERS[part](json.loads((RESULTS / f"{part}.json").read_text()))
            replace_between_markers(OTHER_DOCUMENTS.get(part, DOCUMENT), part, text)
            print(text)
    if options.plots:
        plot = Path(__file__).parent / "scheduling" / "plots.py"
        subprocess.run([options.plots, str(plot), str(RESULTS)], check=True)


if __name__ == "__main__":
    main()
