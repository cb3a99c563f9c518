"""What so many hours of sound a day take: cards, memory, network, database and disk, by arithmetic that is shown.

    python -m benchmarks.scheduling.capacity [--hours N …] [--speeds N …] [--mean-seconds N] …
    python -m benchmarks.scheduling.capacity --measure [--tasks N] [--database-url URL]

Writes its tables into docs/scale.md and what the store was measured to take into docs/scheduling/store.json, which
--measure measures anew: with SQLite in a temporary folder, and with the empty PostgreSQL database at URL.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.document import replace_between_markers, table
from benchmarks.machine import describe_machine
from benchmarks.scheduling import store_costs
from benchmarks.scheduling.scenarios import SLOTS
from whisper_core.common.units import BYTES_PER_SAMPLE, SAMPLE_RATE, WINDOW_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "scale.md"
STORE = ROOT / "docs" / "scheduling" / "store.json"
HOURS, SPEEDS = (1e3, 1e5, 1e6), (50.0, 200.0, 1000.0)
DAY_S = 86_400
DECODED_BYTES_PER_S = SAMPLE_RATE * BYTES_PER_SAMPLE


@dataclass(frozen=True)
class Assumed:
    """What nobody measured, or what depends on who uses the server; each can be given on the command line."""

    mean_seconds: float = 240.0  # of a recording
    peak: float = 2.0  # the busiest hour's rate beside the day's mean
    load: float = 0.85  # that the cards may have in that hour
    kept_days: float = 30.0
    card_gb: float = 7.2  # reserved for `turbo` with 64 slots, by formula; see docs/scheduling.md
    waiting_hours: float = 1.0  # of the mean's arrivals, waiting at worst
    watchers: float = 1.0  # pages open for each task that runs
    server_tasks: float = 147.0  # a second through one server, measured; see docs/reliability.md, likewise the next one
    server_uploads: float = 72.0


Figure = Callable[[float], float]  # of hours of sound a day


@dataclass(frozen=True)
class Line:
    """One figure of the table, and how it is worked out."""

    name: str
    how: str
    figure: Figure
    unit: str = ""


def lines(assumed: Assumed, speeds: Sequence[float], store: Mapping[str, Any]) -> list[Line]:
    """store: means per task, see StoreCosts."""
    windows = ceil(assumed.mean_seconds / WINDOW_SECONDS)
    kept_rows, database_bytes = sum(store["rows"].values()), store["database_bytes"]

    def sound(hours: float) -> float:
        return hours * 3600 / DAY_S * assumed.peak

    def tasks(hours: float) -> float:
        return sound(hours) / assumed.mean_seconds

    def a_day(hours: float) -> float:
        return hours * 3600 / assumed.mean_seconds

    def cards(speed: float) -> Figure:
        return lambda hours: ceil(sound(hours) / (speed * assumed.load))

    def kept(each: float) -> Figure:
        return lambda hours: a_day(hours) * assumed.kept_days * each

    found = [
        Line("sound in the busiest hour", "hours · 3600 / 86,400 · peak", sound, "s/s"),
        Line("tasks a day", "hours · 3600 / mean length", a_day),
        Line("tasks in the busiest hour", "sound / mean length", tasks, "/s"),
        Line("windows", f"tasks · {windows}", lambda hours: tasks(hours) * windows, "/s"),
    ]
    found += [
        Line(f"cards at {speed:g} × real time", f"sound / ({speed:g} · load), up", cards(speed)) for speed in speeds
    ]
    found += [
        Line(f"GPU memory for them at {speeds[-1]:g} ×", f"cards · {assumed.card_gb:g} GB",
             lambda hours: cards(speeds[-1])(hours) * assumed.card_gb * 1e9, "B"),
        Line("host memory of waiting tasks", f"tasks a day / 24 · {assumed.waiting_hours:g} h · 580 B",
             lambda hours: a_day(hours) / 24 * assumed.waiting_hours * 580, "B"),
        Line("uploads at 64 kbit/s", "sound · 64 kbit", lambda hours: sound(hours) * 64e3, "bit/s"),
        Line("uploads at 128 kbit/s", "sound · 128 kbit", lambda hours: sound(hours) * 128e3, "bit/s"),
        Line("samples to nodes", f"sound · {DECODED_BYTES_PER_S * 8 // 1000} kbit",
             lambda hours: sound(hours) * DECODED_BYTES_PER_S * 8, "bit/s"),
        Line("transactions, none joined", f"tasks · {store['transactions']:g}",
             lambda hours: tasks(hours) * store["transactions"], "/s"),
        Line("servers, by the tasks that one starts and ends", f"tasks / {assumed.server_tasks:g}, up",
             lambda hours: ceil(tasks(hours) / assumed.server_tasks)),
        Line("servers, by the uploads that one takes", f"tasks / {assumed.server_uploads:g}, up",
             lambda hours: ceil(tasks(hours) / assumed.server_uploads)),
        Line("window rows of running tasks", f"sound · {SLOTS} slots / {speeds[0]:g} · {windows} / 2",
             lambda hours: sound(hours) * SLOTS / speeds[0] * windows / 2),
        Line("rows kept", f"tasks a day · days · {kept_rows:g}", kept(kept_rows)),
        Line("database kept", f"tasks a day · days · {database_bytes:,.0f} B", kept(database_bytes), "B"),
        Line("transcripts kept", f"tasks a day · days · {store['transcript_bytes']:,.0f} B",
             kept(store["transcript_bytes"]), "B"),
        Line("recordings kept at 64 kbit/s", "hours · 3600 · 8 kB · days",
             lambda hours: hours * 3600 * 8e3 * assumed.kept_days, "B"),
        Line("recordings kept at 128 kbit/s", "hours · 3600 · 16 kB · days",
             lambda hours: hours * 3600 * 16e3 * assumed.kept_days, "B"),
        Line("live feed", f"(windows + 4 · tasks) · {assumed.watchers:g}",
             lambda hours: (tasks(hours) * windows + 4 * tasks(hours)) * assumed.watchers, "messages/s"),
    ]  # fmt: skip
    return found


def shown(value: float, unit: str) -> str:
    """With three figures, and a prefix where the unit is one of bits or bytes."""
    if unit in ("B", "bit/s"):
        for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if value >= factor:
                return f"{_three(value / factor)} {prefix}{unit}"
    return f"{_three(value)} {unit}".strip()


def _three(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def capacity(
    assumed: Assumed, document: Mapping[str, Any], hours: Sequence[float] = HOURS, speeds: Sequence[float] = SPEEDS
) -> str:
    """What is assumed, and the table. document: what --measure found; that of SQLite counts."""
    found = lines(assumed, speeds, document["stores"][0])
    return assumed_list(assumed) + "\n\n" + capacity_table(found, hours)


def capacity_table(found: Sequence[Line], hours: Sequence[float]) -> str:
    heads = ["hours of sound a day", "how", *(f"{each:,.0f}" for each in hours)]
    return table(
        heads, [[line.name, line.how, *(shown(line.figure(each), line.unit) for each in hours)] for line in found]
    )


def assumed_list(assumed: Assumed) -> str:
    return (
        f"Assumed: recordings of {assumed.mean_seconds:g} s; the busiest hour has {assumed.peak:g} times the day's mean"
        f", and cards may be {assumed.load:.0%} busy in it; everything is kept for {assumed.kept_days:g} days; up to "
        f"{assumed.waiting_hours:g} h of arrivals wait; {assumed.watchers:g} page watches each running task."
    )


def store_table(document: Mapping[str, Any]) -> str:
    heads = ["", *(store["database"] for store in document["stores"])]
    figures: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "tasks": lambda store: f"{store['tasks']:,} of {store['audio_seconds']:g} s",
        "rows kept per task": lambda store: ", ".join(f"{name} {count:g}" for name, count in store["rows"].items()),
        "rows of windows while it runs": lambda store: str(store["window_rows"]),
        "bytes in the database while it runs": lambda store: f"{store['running_bytes']:,.0f}",
        "bytes in the database once it is completed": lambda store: f"{store['database_bytes']:,.0f}",
        "bytes of the transcript's file": lambda store: f"{store['transcript_bytes']:,.0f}",
        "transactions": lambda store: f"{store['transactions']:g}",
        "CPU time of the web process, ms": lambda store: f"{store['cpu_ms']:.1f}",
        "of a transaction, ms": lambda store: f"{store['cpu_ms'] / store['transactions']:.2f}",
    }
    about = f"{document['machine']}. {document['date']}. `{document['command']}`"
    return about + "\n\n" + table(heads, [[name, *map(show, document["stores"])] for name, show in figures.items()])


def measure(url: str, tasks: int, mean_seconds: float) -> dict[str, Any]:
    found = []
    for each in ("", url) if url else ("",):
        with tempfile.TemporaryDirectory() as folder:
            found.append(asdict(store_costs.measure(Path(folder), each, tasks, mean_seconds)))
    return {"stores": found}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, nargs="+", default=HOURS, help="of sound a day")
    parser.add_argument("--speeds", type=float, nargs="+", default=SPEEDS, help="of a card, × real time")
    for name, value in vars(Assumed()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    parser.add_argument("--measure", action="store_true", help="what the store takes, anew")
    parser.add_argument("--database-url", default="", help="an empty PostgreSQL database to measure besides")
    parser.add_argument("--tasks", type=int, default=1000, help="to measure with")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    assumed = Assumed(**{name: getattr(options, name) for name in vars(Assumed())})
    if options.measure:
        without_url = [each for each in sys.argv[1:] if each not in ("--database-url", options.database_url)]
        about = {
            "command": f"python -m benchmarks.scheduling.capacity {shlex.join(without_url)}",
            "machine": describe_machine(),
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
        }
        found = measure(options.database_url, options.tasks, assumed.mean_seconds)
        STORE.write_text(json.dumps({**about, **found}, indent=1) + "\n")
    document = json.loads(STORE.read_text())
    replace_between_markers(DOCUMENT, "store", store_table(document))
    text = capacity(assumed, document, options.hours, options.speeds)
    replace_between_markers(DOCUMENT, "capacity", text)
    print(text)


if __name__ == "__main__":
    main()
