"""Mixed work with a fault every thirty seconds, and then the proof that nothing was lost; `make soak`.

    python -m benchmarks.soak --minutes 30           into docs/reliability.md
    python -m benchmarks.soak --kills 50 --print     fifty kills of anything at random moments instead
    python -m benchmarks.soak --minutes 5 --model tiny.en --print

Without --model an engine that computes nothing takes --window seconds for each window. Ends with 1 when a promise was
broken. With --scratch on a small file system that is mounted for it, the disk is filled as well.
"""

from __future__ import annotations

import argparse
import random
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import psutil

from benchmarks.document import replace_between_markers, require_markers, table
from benchmarks.load.server import LoadServer
from benchmarks.machine import describe_machine
from benchmarks.soak import faults, outcome
from benchmarks.soak.record import TaskRecord, differences
from benchmarks.soak.resources import Held, growth
from benchmarks.soak.samples import samples_for_model, samples_for_noop
from benchmarks.soak.workers import Clients, Sample
from optimizer.common.text import duration

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
WARM_UP_S = 20.0
DRAIN_LIMIT_S = 900.0
QUIET_S = 8.0  # idle connections and threads end meanwhile
KILL_EVERY_S = (1.0, 8.0)
_PAUSE = Event()  # never set: waiting on it is a bounded sleep


@dataclass
class Soaked:
    """What a soak found."""

    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    charged: int = 0
    without_task: int = 0  # uploads; see `num_uploads_without_task`
    before: Held | None = None
    after: Held | None = None
    broken: list[str] = field(default_factory=list)  # promises, each as a sentence


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS", help="between two faults")
    parser.add_argument("--kills", type=int, default=0, help="so many kills at random moments, and no other fault")
    parser.add_argument("--model", help="a real model instead of an engine that computes nothing")
    parser.add_argument("--window", type=float, default=0.3, metavar="SECONDS", help="of that engine, for a window")
    parser.add_argument("--uploaders", type=int, default=3)
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--models-dir", type=Path, default=ROOT / "data" / "models")
    parser.add_argument("--scratch", type=Path, help="where the server's folder is made")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--print", action="store_true", help="print the table and leave docs/reliability.md alone")
    return parser.parse_args()


def make_server(options: argparse.Namespace, folder: Path) -> LoadServer:
    settings = {
        "MIN_FREE_DISK_MB": "0",
        "MAX_CONCURRENT_TASKS_LIMIT": "8",
        "PERFORMANCE_MONITOR_INTERVAL": "5",
        "TMPDIR": str(_temporary(folder)),
    }
    if options.model:
        settings |= {"MODELS_DIR": str(options.models_dir.resolve()), "DEFAULT_MODEL": options.model}
    return LoadServer(folder, is_noop=not options.model, settings=settings)


def soak(server: LoadServer, samples: Sequence[Sample], options: argparse.Namespace, folder: Path) -> Soaked:
    found, record, chance = Soaked(), TaskRecord(), random.Random(options.seed)
    _work(server, samples, record, found, options, lambda: _PAUSE.wait(WARM_UP_S))
    found.before = _held(server, folder)
    began = time.monotonic()
    kinds = faults.KILLS if options.kills else dict(faults.FAULTS)
    if options.scratch and faults.has_small_disk(options.scratch):
        kinds = {**kinds, **faults.FULL_DISK}
    _work(server, samples, record, found, options, lambda: _disturb(server, kinds, found, options, chance))
    found.seconds = time.monotonic() - began
    found.after = _held(server, folder)
    _judge(server, record, found)
    return found


def _work(
    server: LoadServer,
    samples: Sequence[Sample],
    record: TaskRecord,
    found: Soaked,
    options: argparse.Namespace,
    meanwhile: Callable[[], object],
) -> None:
    """Clients work while `meanwhile` runs; then everything that was accepted may end."""
    clients = Clients(lambda: server.url, samples, record, uploaders=options.uploaders, seed=options.seed)
    clients.start()
    try:
        meanwhile()
    finally:
        clients.stop()
    found.counts = {name: found.counts.get(name, 0) + count for name, count in clients.counts.items()}
    server.wait_until(lambda: outcome.is_drained(server), "the end of all tasks", DRAIN_LIMIT_S)


def _disturb(
    server: LoadServer,
    kinds: Mapping[str, faults.Fault],
    found: Soaked,
    options: argparse.Namespace,
    chance: random.Random,
) -> None:
    names = list(kinds)
    until = time.monotonic() + 60 * options.minutes
    turn = 0
    while sum(found.faults.values()) < options.kills if options.kills else time.monotonic() < until:
        _PAUSE.wait(chance.uniform(*KILL_EVERY_S) if options.kills else options.every)
        if turn % len(names) == 0:
            chance.shuffle(names)
        name = names[turn % len(names)]
        turn += 1
        print(f"{datetime.now(UTC):%H:%M:%S} {name}", file=sys.stderr, flush=True)
        try:
            kinds[name](server, chance)
        except psutil.NoSuchProcess:
            continue  # the fault before has not been repaired yet
        found.faults[name] += 1


def _held(server: LoadServer, folder: Path) -> Held:
    _PAUSE.wait(QUIET_S)
    return Held.by(server.master, server.web, server.data_dir, _temporary(folder))


def _judge(server: LoadServer, record: TaskRecord, found: Soaked) -> None:
    """The promises, asked of the server and then of what is on its disk."""
    tasks = outcome.find_tasks(server)
    accepted = record.tasks()
    server.stop()
    found.accepted = len(accepted)
    found.ended = Counter(task.status for task in tasks.values())
    found.charged = outcome.num_charged(server.data_dir)
    assert found.before is not None
    assert found.after is not None
    found.without_task = outcome.num_uploads_without_task(server.data_dir, tasks)
    found.broken = [
        *differences(accepted, tasks),
        *outcome.stray_files(server.data_dir, tasks),
        *growth(found.before, found.after),
    ]
    if found.counts.get("answers of 500"):
        found.broken.append(f"{found.counts['answers of 500']} answers of 500")


def report(found: Soaked, options: argparse.Namespace) -> str:
    assert found.before is not None
    assert found.after is not None
    before, after = found.before, found.after
    work = ", ".join(f"{count:,} {name}" for name, count in sorted(found.counts.items()))
    provoked = ", ".join(f"{count} × {name}" for name, count in sorted(found.faults.items()))
    rows = [
        ["accepted", f"{found.accepted:,}"],
        *[[status, f"{count:,}"] for status, count in sorted(found.ended.items())],
        ["attempts charged to tasks for these faults", str(found.charged)],
        ["file descriptors before and after", f"{before.descriptors} → {after.descriptors}"],
        ["threads", f"{before.threads} → {after.threads}"],
        ["memory of the web process, MiB", f"{before.resident_bytes / 2**20:.0f} → {after.resident_bytes / 2**20:.0f}"],
        ["processes", f"{before.processes} → {after.processes}"],
        ["temporary files", f"{before.temporary_files} → {after.temporary_files}"],
        ["uploads that a kill cut off, kept for a day", str(after.unfinished_uploads)],
        ["whole uploads that a kill kept from becoming a task, kept and reported", str(found.without_task)],
        ["promises broken", str(len(found.broken))],
    ]
    engine = options.model or f"an engine that computes nothing, {options.window} s for each window"
    parts = [
        f"{describe_machine()}. {datetime.now(UTC):%Y-%m-%d}, {duration(found.seconds)} with {engine}.",
        f"`python -m benchmarks.soak {shlex.join(_kept(sys.argv[1:]))}`".replace(" `", "`"),
        f"Work: {work}.",
        f"Faults: {provoked}.",
        table(["", "count"], rows),
        *[f"- {sentence}" for sentence in found.broken],
    ]
    return "\n\n".join(parts)


def _kept(arguments: Sequence[str]) -> list[str]:
    """Without what is not about the run."""
    return [argument for argument in arguments if argument != "--print"]


def _temporary(folder: Path) -> Path:
    return folder / "temporary"


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is ended
    options = parse_arguments()
    marker = "kills" if options.kills else "soak"
    if not options.print:
        require_markers(DOCUMENT, [marker])
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="soak-") as scratch:
        folder = Path(scratch) / "server"
        _temporary(folder).mkdir(parents=True)
        with make_server(options, folder) as server:
            if options.model:
                samples = samples_for_model(options.recordings, options.model, server)
            else:
                samples = samples_for_noop(options.recordings, Path(scratch), options.window)
            found = soak(server, samples, options, folder)
        text = report(found, options)
    print(text)
    if not options.print:
        replace_between_markers(DOCUMENT, marker, text)
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
