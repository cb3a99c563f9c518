"""Everything about a GPU in one call of at most twelve minutes, the most important first.

    python -m benchmarks.cuda_all [PART …] --recordings FOLDER --out FOLDER

Each part runs in a process of its own, because a crash on a card ends a process, a profiler spoils one, and a part
whose time is up has to end. What a part does not use of its time, the next ones have. Results are printed as they come
and kept in the folder: cuda.jsonl, and what the parts log in cuda.log. `--publish FOLDER` writes such results into
docs/benchmarks.md. Texts and server need the weights of tiny.en and base; the other parts have random weights in the
dimensions of real models. `--smoke` runs the parts on the CPU with tiny networks, to see that they run.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import psutil
import torch

from benchmarks.child_process import ROOT
from benchmarks.document import replace_between_markers
from benchmarks.gpu_part import Budget, Part, Report, WarningsInReport, as_document, read_lines

DOCUMENT = ROOT / "docs" / "benchmarks.md"
RESULTS, LOG = "cuda.jsonl", "cuda.log"
MINUTES = 12.0
GRACE_S = 10.0  # of a part's time, for what it is about when it has been told to stop


@dataclass(frozen=True)
class Plan:
    """share_s: seconds of twelve minutes. module, function: called with a Part; imported in the part's own process, so
    that a package which is missing there costs this part only."""

    share_s: float
    module: str
    function: str

    def measure(self, part: Part) -> None:
        getattr(import_module(self.module), self.function)(part)


PARTS: Mapping[str, Plan] = {
    "start": Plan(60, "benchmarks.gpu_start", "measure_start"),
    "texts": Plan(130, "benchmarks.gpu_correctness", "measure_texts"),
    "kernels": Plan(35, "benchmarks.gpu_kernels", "measure_kernels"),
    "replays": Plan(60, "benchmarks.gpu_replays", "measure_replays"),
    "speed": Plan(220, "benchmarks.gpu_speed", "measure_speeds"),
    "memory": Plan(75, "benchmarks.gpu_memory", "measure_memory"),
    "server": Plan(100, "benchmarks.gpu_server", "measure_server"),
    "profile": Plan(40, "benchmarks.gpu_profile", "measure_profile"),
}


def run_all(options: argparse.Namespace, clock: Callable[[], float] = time.monotonic) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / RESULTS
    results.unlink(missing_ok=True)
    ends_at = clock() + 60 * options.minutes
    for name, seconds in shares(options.parts, lambda: ends_at - clock()):
        report, began = Report(name, results), clock()
        if seconds < 2 * GRACE_S:
            report.left_out(f"the part {name!r}")
            continue
        print(f"\n### {name}, at most {seconds:.0f} s", flush=True)
        how = run_part(name, seconds, options)
        report.text(f"`{name}` took {clock() - began:.0f} s{how}.")


def shares(names: Sequence[str], left_s: Callable[[], float]) -> Iterator[tuple[str, float]]:
    """Each part with its seconds: of what is left when its turn comes, in proportion to the plan."""
    for place, name in enumerate(names):
        yield name, left_s() * PARTS[name].share_s / sum(PARTS[each].share_s for each in names[place:])


def run_part(name: str, seconds: float, options: argparse.Namespace) -> str:
    """How it ended: nothing where it ended well."""
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    if options.smoke:
        environ["TRITON_INTERPRET"] = "1"  # without a card no kernel can be compiled
    with (
        tempfile.TemporaryDirectory() as scratch,
        open(options.out / LOG, "a") as log,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cuda_all", *part_arguments(name, seconds, options, scratch)],
            cwd=ROOT,
            env=environ,
            stderr=log,
        ) as child,
    ):
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            end_with_children(child.pid)
            return " and was ended then, because its time was up"
    if not code:
        return ""
    *_, why = (options.out / LOG).read_text().splitlines() or [""]
    return f" and failed with exit code {code}: {why}"


def part_arguments(name: str, seconds: float, options: argparse.Namespace, scratch: str) -> list[str]:
    """For the process of a part."""
    paths = ["--out", str(options.out), "--recordings", str(options.recordings), "--scratch", scratch]
    return [
        name,
        "--seconds",
        f"{seconds - GRACE_S:.1f}",
        *paths,
        "--models",
        *options.models,
        *["--smoke"] * options.smoke,
    ]


def end_with_children(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):  # it has just ended by itself
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def measure_part(options: argparse.Namespace) -> None:
    """The process of a part."""
    (name,) = options.parts
    report = Report(name, options.out / RESULTS)
    with warnings_reported(report):
        PARTS[name].measure(
            Part(
                report=report,
                budget=Budget(options.seconds),
                is_trial=options.smoke,
                recordings=options.recordings,
                scratch=options.scratch,
                models=tuple(options.models),
            )
        )


@contextmanager
def warnings_reported(report: Report) -> Iterator[None]:
    handler = WarningsInReport(report)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def publish(folder: Path) -> None:
    measured = datetime.fromtimestamp((folder / RESULTS).stat().st_mtime, UTC)
    head = f"`python -m benchmarks.cuda_all`, {measured:%Y-%m-%d}, one run."
    replace_between_markers(DOCUMENT, "cuda", f"{head}\n\n{as_document(read_lines(folder / RESULTS))}")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "cuda", help="where the results are kept")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that the whole call may take")
    parser.add_argument("--models", nargs="+", default=["turbo", "large-v3"], help="whose speed is measured")
    parser.add_argument("--smoke", action="store_true", help="on the CPU, with tiny networks")
    parser.add_argument("--publish", type=Path, metavar="FOLDER", help="write these results into docs/benchmarks.md")
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)  # in the process of a part
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there are no such parts: {', '.join(sorted(unknown))}")
    options.parts = [name for name in PARTS if name in options.parts or not options.parts]
    if not (options.smoke or options.publish or torch.cuda.is_available()):
        parser.error("there is no GPU here; --smoke runs without one")
    return options


def main() -> None:
    options = parse_arguments()
    if options.publish:
        publish(options.publish)
    elif options.seconds is not None:
        measure_part(options)
    else:
        run_all(options)


if __name__ == "__main__":
    main()
