"""What a GPU's engine costs the host: thread CPU time of a round, and of what happens in one.

    python -m benchmarks.host_budget --json

No GPU is needed, and none is used. The device is a fake one: a pass is computed once, for its shapes, and is later only
counted, as the replay of a graph would be; recordings are read and windows are encoded by nobody, so that all tasks
have a window in a slot; and each window ends after about STEPS steps, few of them in the same round. What is left is
the host's own work: the engine's thread, its bookkeeping, and what it sends to the server. Operations outside a graph
run on the CPU, where they take longer than their launch would. What the fake device does itself is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, field
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.machine import describe_machine
from benchmarks.random_model import loaded_from_memory, random_model
from tests.whisper_core.engine.as_on_gpu import as_on_gpu
from tests.whisper_core.engine.ending_windows import EndingReadback
from whisper_core.audio.log_mel import LogMel
from whisper_core.common.units import SAMPLE_RATE, WINDOW_FRAMES, WINDOW_SECONDS
from whisper_core.engine import batch_engine
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.engine.decoding import cuda_slots
from whisper_core.engine.decoding.sequence import Sequence as Decoding
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker.inbox import WorkerInbox
from whisper_core.worker.messages import RunTask
from whisper_core.worker.outbox import TaskReporter, WorkerOutbox

MODEL = "tiny.en"
TOY = ModelDimensions(80, 1500, 64, 1, 1, 51864, 448, 64, 1, 1)
COUNTS = (1, 16, 32, 48, 63, 64)
SLOTS = 64
STEPS = 60  # of a window, on average
WINDOWS = 8  # of a task
LONG_WINDOWS = 120  # an hour
MOST_OF = 7 / 8  # of the tasks have a window in a slot in a round that counts
REPETITIONS = 3
OPTIONS = TranscribeOptions(language="en", temperature=0.0)
US = 1e6


@dataclass
class Rounds:
    """Seconds of the engine's thread, by what happened in a round. tasks: that there are at first."""

    tasks: int
    quiet: list[float] = field(default_factory=list)  # with nearly all tasks in slots
    window_starts: list[float] = field(default_factory=list)  # of one window
    window_ends: list[float] = field(default_factory=list)  # of one window
    task_ends: list[float] = field(default_factory=list)  # of one task, with its last window

    def add(self, seconds: float, happened: Counts) -> None:
        match happened.started, happened.windows, happened.tasks:
            case 0, 1, 1:
                self.task_ends.append(seconds)
            case 0, 1, 0:
                self.window_ends.append(seconds)
            case 1, 0, 0:
                self.window_starts.append(seconds)
            case 0, 0, 0 if happened.in_slots >= MOST_OF * self.tasks:
                self.quiet.append(seconds)


@dataclass(frozen=True)
class Counts:
    """Since the benchmark began, or in one round."""

    started: int  # windows that got a slot
    windows: int  # that ended
    tasks: int  # likewise
    in_slots: int  # windows, summed over the steps

    @classmethod
    def now(cls, engine: BatchEngine) -> Counts:
        return cls(TimedReadback.started, Watched.windows, Watched.tasks, engine.statistics.step_windows)

    def since(self, before: Counts) -> Counts:
        return Counts(*(mine - earlier for mine, earlier in zip(astuple(self), astuple(before), strict=True)))


class Replays:
    """See cuda_graphs.Launch. Passes are called, and compute nothing."""

    def __call__(self, key: Hashable, work: Callable[[], Any]) -> None: ...

    def prepare(self, key: Hashable, work: Callable[[], Any]) -> None: ...


class TimedReadback(EndingReadback):
    """Each window takes 30 to 90 steps."""

    spent = 0.0  # seconds of the engine's thread, for what a GPU would do
    started = 0

    def __init__(self) -> None:
        super().__init__(partial(Random(0).randint, STEPS // 2, 3 * STEPS // 2))

    def play(self, sequences: list[Decoding]) -> None:
        began, known = time.thread_time(), len(self._left)
        super().play(sequences)
        TimedReadback.started += len(self._left) - known
        TimedReadback.spent += time.thread_time() - began


class Watched(TaskReporter):
    """Counts what ends beside sending it to a server that takes everything."""

    windows = tasks = 0

    def window(self, window: Any) -> None:
        Watched.windows += 1
        super().window(window)

    def _send_last(self, report: Any) -> None:
        Watched.tasks += 1
        super()._send_last(report)


@contextmanager
def fake_device() -> Iterator[None]:
    """The engine's CPU becomes a GPU that costs the host nothing."""
    mel = torch.zeros(TOY.n_mels, WINDOW_FRAMES)
    with as_on_gpu(Replays), ExitStack() as stack:
        for name, value in (("SLOTS", SLOTS), ("ENCODER_BATCH", 8)):
            stack.enter_context(patch.dict(getattr(batch_engine, name), cpu=value))
        stack.enter_context(patch.object(cuda_slots, "LaggedReadback", TimedReadback))
        stack.enter_context(patch.object(LogMel, "prepare", lambda recording, frames: True))
        stack.enter_context(patch.object(LogMel, "normalised", lambda recording, first: mel))
        yield


@contextmanager
def worker_s_pipe() -> Iterator[tuple[WorkerInbox, WorkerOutbox]]:
    """To a server that takes every report and sends nothing: a process, which does not want this one's interpreter."""
    ours, theirs = Pipe()
    with ours, theirs, subprocess.Popen(["cat"], stdin=ours.fileno(), stdout=subprocess.DEVNULL):
        ours.close()
        yield WorkerInbox(theirs, lambda: None), WorkerOutbox(theirs)
        theirs.close()  # which ends it


def measure(
    engine: BatchEngine, inbox: WorkerInbox, outbox: WorkerOutbox, recordings: Sequence[Path], rounds: Rounds
) -> None:
    """All recordings at once, from the first to the last round."""
    for number, samples in enumerate(recordings):
        command = RunTask(f"task-{number}", f"attempt-{number}", MODEL, str(samples), OPTIONS)
        engine.start(command, Watched(command, inbox, outbox))
    while engine.is_busy:
        before, spent, began = Counts.now(engine), TimedReadback.spent, time.thread_time()
        engine.advance()
        seconds = time.thread_time() - began - (TimedReadback.spent - spent)
        rounds.add(seconds, Counts.now(engine).since(before))


def samples_of(windows: int, folder: Path) -> Path:
    path = folder / f"{windows}.pcm"
    noise = np.random.default_rng(0).normal(0, 2000, int(windows * WINDOW_SECONDS * SAMPLE_RATE))
    path.write_bytes(noise.astype(np.int16).tobytes())
    return path


def measured(
    counts: Sequence[int], *, long_windows: int = LONG_WINDOWS, repetitions: int = REPETITIONS
) -> dict[str, Any]:
    """Medians in microseconds, as --json prints them; of all but `round_us`, what they take beyond a quiet round of as
    many tasks.

    long_windows: of the task whose end is measured. repetitions: of everything, because machines change their speed.
    """
    rounds_of: dict[int, list[float]] = {count: [] for count in counts}
    starts, ends, task_ends = [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        loaded_from_memory("whisper_core.engine.batch_engine", {MODEL: random_model(TOY, STEPS, "cpu")}),
        fake_device(),
        worker_s_pipe() as (inbox, outbox),
    ):
        engine = BatchEngine("cpu", 1)
        engine.watch_stops(inbox.num_stops)  # as the worker's loop has it
        engine.load(MODEL, Path(folder))
        short, hour, longer = (samples_of(each, Path(folder)) for each in (WINDOWS, long_windows, long_windows + 2))
        for _ in range(repetitions):
            for count in counts:
                rounds = Rounds(count)
                measure(engine, inbox, outbox, [short] * count, rounds)
                quiet = statistics.median(rounds.quiet)
                rounds_of[count] += rounds.quiet
                starts += [seconds - quiet for seconds in rounds.window_starts]
                ends += [seconds - quiet for seconds in rounds.window_ends]
            both = Rounds(2)
            measure(engine, inbox, outbox, [hour, longer], both)
            # After the other one the engine is idle, and frees memory.
            task_ends.append(both.task_ends[0] - statistics.median(both.quiet))
        engine.close()
    return {
        "round_us": {str(count): round(statistics.median(rounds) * US) for count, rounds in rounds_of.items()},
        "window_start_us": round(statistics.median(starts) * US),
        "window_end_us": round(statistics.median(ends) * US),
        "task_done_us": round(statistics.median(task_ends) * US),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="tasks at once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measured(options.counts)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{describe_machine()}\n\n| tasks at once | a round, us |\n| ---: | ---: |")
    for count, us in figures["round_us"].items():
        print(f"| {count} | {us} |")
    start, end, done = (figures[name] for name in ("window_start_us", "window_end_us", "task_done_us"))
    print(f"\nA window's start {start} us, its end {end} us, the end of a task of an hour {done} us.")


if __name__ == "__main__":
    main()
