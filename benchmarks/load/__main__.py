"""How much the server takes, row by row of the load table; `make load`.

    python -m benchmarks.load                      every row, about ten minutes, into docs/reliability.md
    python -m benchmarks.load --rows uploads task --print

The server runs as people start it, in a folder of its own. Client and server share the machine, so its figures are
those of both. Nobody else should use the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.document import replace_between_markers, require_markers, table
from benchmarks.load import reads, sockets, uploads, waiting, work
from benchmarks.load.bench import Bench
from benchmarks.load.figures import HEADS, Row
from benchmarks.load.sounds import speech
from benchmarks.machine import describe_machine
from optimizer.common.text import duration

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
MARKER = "load"
ROWS: Mapping[str, Callable[[Bench], list[Row]]] = {
    "sockets": sockets.clients,
    "cap": sockets.cap,
    "fan-out": sockets.fan_out,
    "task": reads.one_task,
    "pages": reads.pages,
    "search": reads.search,
    "uploads": uploads.small,
    "burst": uploads.burst,
    "large": uploads.large,
    "enqueue": uploads.enqueue,
    "pending": waiting.pending,
    "decision": waiting.decision,
    "start": work.start,
    "noop": work.noop,
    "cancel": work.cancel,
    "restart": work.restart,
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seconds", type=float, default=10.0, help="of traffic in a row")
    parser.add_argument("--large", type=float, default=2.0, metavar="GB", help="size of the large upload; 10 is meant")
    parser.add_argument("--clients", type=int, nargs="+", default=[500, 1000], help="open pages")
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--scratch", type=Path, help="where the servers' folders are made; on a disk, not in memory")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--raw", type=Path, help="where to write every row as JSON")
    parser.add_argument("--print", action="store_true", help="print the table and leave docs/reliability.md alone")
    return parser.parse_args()


def measure(names: Sequence[str], bench: Bench) -> list[Row]:
    """A row that cannot be measured is told of and left out."""
    rows: list[Row] = []
    for name in names:
        began = time.perf_counter()
        try:
            found = ROWS[name](bench)
        except Exception as error:  # noqa: BLE001 - the other rows are worth having
            print(f"{name}: could not be measured: {error}", file=sys.stderr, flush=True)
            continue
        for row in found:
            print(f"{name}: {row.title}: {row.measured} ({row.verdict.value})", file=sys.stderr, flush=True)
        print(f"{name}: took {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        rows += found
    return rows


def report(rows: Sequence[Row], seconds: float) -> str:
    machine = f"{describe_machine()}. {datetime.now(UTC):%Y-%m-%d}, in {duration(seconds)}."
    head = f"{machine} Client and server share the cores."
    command = f"`python -m benchmarks.load {shlex.join(_kept(sys.argv[1:]))}`".replace(" `", "`")
    return "\n\n".join([head, command, table(HEADS, [row.cells() for row in rows])])


def _kept(arguments: Sequence[str]) -> list[str]:
    """Without paths of one machine and what is not about the measurement."""
    kept, skips = [], False
    for argument in arguments:
        is_path = argument.partition("=")[0] in ("--raw", "--scratch")
        if not (skips or is_path or argument == "--print"):
            kept.append(argument)
        skips = is_path and "=" not in argument
    return kept


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is ended
    options = parse_arguments()
    if not options.print:
        require_markers(DOCUMENT, [MARKER])
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="load-") as folder:
        scratch = Path(folder)
        (scratch / "samples").mkdir()
        bench = Bench(
            scratch=scratch,
            speech=speech(options.recordings, scratch / "samples"),
            seconds=options.seconds,
            large_bytes=int(options.large * 1e9),
            socket_clients=tuple(options.clients),
            seed=options.seed,
        )
        rows = measure(options.rows, bench)
    if options.raw:
        options.raw.write_text(json.dumps([{**asdict(row), "verdict": row.verdict.value} for row in rows]))
    text = report(rows, time.perf_counter() - began)
    print(text)
    if not options.print:
        replace_between_markers(DOCUMENT, MARKER, text)
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
