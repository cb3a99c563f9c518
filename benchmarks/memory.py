"""Whether what is reserved on the CPU is what is used: bursts of recordings through a real server on a new data folder.

    python -m benchmarks.memory --recordings tests/data --cases tiny.en words

Every burst waits for the one before it. Of each task the server says what it predicted, reserved and measured; what the
device uses and has reserved is looked at as often as its worker reports it.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from benchmarks.document import replace_between_markers, table
from benchmarks.machine import describe_machine
from benchmarks.recordings import Recording, read_recordings
from benchmarks.server_process import Server
from config import load_settings
from whisper_core.worker.main import HEARTBEAT_S

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BURSTS = (1, 2, 3, 8, 1, 5, 2, 4, 1, 3)  # 30 tasks
LONGEST_S = 90.0  # of the recordings that are sent
LEARNED_AFTER = 20  # tasks; how far later predictions are off is what counts
MIXED_EVERY = 3  # of several models, each burst has one and every third has all
LOOK_EVERY_S = 0.3
SETTINGS = {"MAX_CONCURRENT_TASKS_LIMIT": "auto", "DEVICES": "cpu"}


@dataclass(frozen=True)
class Case:
    models: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


CASES: Mapping[str, Case] = {
    "tiny.en": Case(("tiny.en",)),
    "base": Case(("base",)),
    "int8": Case(("tiny.en-int8",)),
    "both": Case(("tiny.en", "base")),
    "words": Case(("tiny.en",), {"word_timestamps": "true"}),
    "vad": Case(("tiny.en",), {"mode": "vad"}),
}


@dataclass(frozen=True)
class TaskFigures:
    """Bytes, as the server gives them; None where it cannot tell."""

    model: str
    together: int  # tasks of its burst
    seconds: float  # of sound
    predicted: int | None
    reserved: int | None
    measured: int | None

    @property
    def ratio(self) -> float | None:
        return self.measured / self.reserved if self.measured and self.reserved else None

    @property
    def error(self) -> float | None:
        return abs(self.predicted - self.measured) / self.measured if self.predicted and self.measured else None


@dataclass(frozen=True)
class Outcome:
    case: str
    tasks: Sequence[TaskFigures]
    samples: int
    samples_above: int  # the most in a row in which more was used than reserved
    largest_excess: int  # bytes

    @property
    def ratios(self) -> list[float]:
        return [task.ratio for task in self.tasks if task.ratio is not None]

    @property
    def within(self) -> int:
        return sum(ratio <= 1.0 for ratio in self.ratios)

    @property
    def learned_error(self) -> float | None:
        errors = [task.error for task in self.tasks[LEARNED_AFTER:] if task.error is not None]
        return statistics.median(errors) if errors else None


class UseWatch:
    """Looks at what the CPU's worker uses and what is reserved while it is entered, once in a heartbeat."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._failure: Exception | None = None
        self.excesses: list[int] = []  # bytes above what is reserved, not positive where nothing is

    def __enter__(self) -> UseWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def _watch(self) -> None:
        try:
            while not self._is_over.wait(HEARTBEAT_S):
                (device,) = self._server.get("/api/system")["devices"]
                self.excesses.append(device["used"] - device["reserved"])
        except Exception as error:  # noqa: BLE001 - raised by the thread that measures
            self._failure = error


def most_in_a_row(excesses: Sequence[int]) -> int:
    runs = ((above, len(list(run))) for above, run in itertools.groupby(excess > 0 for excess in excesses))
    return max((length for above, length in runs if above), default=0)


def run_case(name: str, recordings: Sequence[Recording], folder: Path, models_dir: Path, limit_s: float) -> Outcome:
    """Raises TimeoutError when it takes longer than limit_s."""
    deadline = time.monotonic() + limit_s
    case, tasks = CASES[name], list[TaskFigures]()
    sounds = itertools.cycle(recordings)
    with Server(folder, case.models[0], models_dir, SETTINGS) as server, UseWatch(server) as watch:
        for number, count in enumerate(BURSTS):
            models = itertools.islice(models_of_burst(case, number), count)
            ids = [server.upload(next(sounds), {"model": model, **case.options}) for model in models]
            tasks += [figures_of(task, count) for task in finished(server, ids, deadline)]
            print(f"{name}, burst of {count}: {describe(tasks[-count:])}", flush=True)
        time.sleep(2 * HEARTBEAT_S)  # so that the idle worker is looked at, too
    excesses = watch.excesses
    return Outcome(name, tasks, len(excesses), most_in_a_row(excesses), max(excesses, default=0))


def models_of_burst(case: Case, number: int) -> Iterator[str]:
    """The models of its tasks, without end."""
    if number % MIXED_EVERY == MIXED_EVERY - 1:
        return itertools.cycle(case.models)
    return itertools.repeat(case.models[number % len(case.models)])


class Getter(Protocol):
    def get(self, path: str, /) -> Any: ...


def finished(server: Getter, ids: Sequence[str], deadline: float) -> list[dict[str, Any]]:
    """The tasks, once they are completed. Raises RuntimeError when one is not, and TimeoutError."""
    while time.monotonic() < deadline:
        tasks = [server.get(f"/api/tasks/{task_id}")["task"] for task_id in ids]
        if any(task["status"] in ("failed", "cancelled") for task in tasks):
            raise RuntimeError("a task did not complete")
        if all(task["status"] == "completed" for task in tasks):
            return tasks
        time.sleep(LOOK_EVERY_S)
    raise TimeoutError("the tasks took too long; --limit-s allows more")


def figures_of(task: Mapping[str, Any], together: int) -> TaskFigures:
    memory = task["memory"]
    return TaskFigures(
        task["options"]["model"],
        together,
        task["audio_seconds"],
        memory["predicted_bytes"],
        memory["reserved_bytes"],
        memory["measured_bytes"],
    )


def describe(tasks: Sequence[TaskFigures]) -> str:
    """Predicted, reserved and measured MB of each."""
    columns = [(task.predicted, task.reserved, task.measured) for task in tasks]
    return ", ".join("/".join("–" if each is None else f"{each / 1e6:.0f}" for each in row) for row in columns)


def row_of(outcome: Outcome) -> list[str]:
    case, ratios = CASES[outcome.case], outcome.ratios
    options = ", ".join(f"{name}={value}" for name, value in case.options.items())
    error = outcome.learned_error
    return [
        " and ".join(case.models) + (f", {options}" if options else ""),
        str(len(outcome.tasks)),
        str(len(ratios)),
        f"{100 * outcome.within / len(ratios):.0f} %" if ratios else "–",
        f"{max(ratios):.2f}" if ratios else "–",
        "–" if error is None else f"{100 * error:.0f} %",
        f"{outcome.samples_above} of {outcome.samples}",
        f"{outcome.largest_excess / 1e6:,.0f}",
    ]


HEADS = (
    "models and options",
    "tasks",
    "measured",
    "within their reservation",
    "worst, measured / reserved",
    f"median error after {LEARNED_AFTER} tasks",
    "longest above, samples in a row",
    "largest use − reserved, MB",
)


def text_of(outcomes: Sequence[Outcome], arguments: Sequence[str]) -> str:
    command = f"python -m benchmarks.memory {shlex.join(arguments)}".strip()
    about = f"{describe_machine()}. {datetime.now(UTC):%Y-%m-%d}, one run of each. `{command}`"
    return f"{about}\n\n{table(HEADS, [row_of(outcome) for outcome in outcomes])}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--limit-s", type=float, default=900.0, help="of each case")
    parser.add_argument("--print", action="store_true", help="write no document")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    models_dir = load_settings().models_dir.resolve()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        found = read_recordings(options.recordings, scratch)
        recordings = [each for each in found if each.language == "en" and each.seconds <= LONGEST_S]
        outcomes = [run_case(name, recordings, scratch / name, models_dir, options.limit_s) for name in options.cases]
    text = text_of(outcomes, sys.argv[1:])
    print(text)
    if not options.print:
        replace_between_markers(DOCUMENT, "memory", text)


if __name__ == "__main__":
    main()
