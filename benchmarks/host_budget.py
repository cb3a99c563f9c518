"""What a GPU's engine costs the host: thread CPU time of a round, of a window's end and of a task's end.

    python -m benchmarks.host_budget --json

No GPU is needed, and none is used. The device is a fake one: a pass is computed once, for its shapes, and is later only
counted, as the replay of a graph would be; windows are encoded by nobody; and a window ends after TOKENS steps. So what
is left is the host's own work: the engine's thread, its bookkeeping, and what it sends to the server. Operations
outside a graph run on the CPU, where they take longer than their launch would.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe_machine
from benchmarks.random_model import loaded_from_memory, random_model
from tests.whisper_core.engine.fake_cuda import fake_cuda
from whisper_core.common.units import SAMPLE_RATE, WINDOW_SECONDS
from whisper_core.engine import batch_engine
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.engine.decoding import slot_batch
from whisper_core.engine.decoding.cuda_graphs import PassSizes
from whisper_core.engine.decoding.finished_rows import LaggedReadback
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.sequence import Sequence as Decoding
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.dims import DecoderDims
from whisper_core.engine.network.encoder import WindowEncoder
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker.inbox import WorkerInbox
from whisper_core.worker.messages import RunTask
from whisper_core.worker.outbox import TaskReporter, WorkerOutbox

MODEL = "tiny.en"
TOY = ModelDimensions(80, 1500, 64, 1, 1, 51864, 448, 64, 1, 1)
COUNTS = (1, 16, 32, 48, 63, 64)
SLOTS = 64
TOKENS = 60  # of a window
WINDOWS = 4  # of a task
LONG_WINDOWS = 120  # an hour
OPTIONS = TranscribeOptions(language="en", temperature=0.0)
US = 1e6


@dataclass
class Rounds:
    """Seconds of the engine's thread, by what happened in a round."""

    quiet: list[float] = field(default_factory=list)
    window_ends: list[float] = field(default_factory=list)  # of one window, and of no task
    task_ends: list[float] = field(default_factory=list)  # of one task

    def add(self, seconds: float, windows: int, tasks: int) -> None:
        if tasks == 1:
            self.task_ends.append(seconds)
        elif tasks == 0 and windows == 1:
            self.window_ends.append(seconds)
        elif tasks == 0 and windows == 0:
            self.quiet.append(seconds)


class Replays:
    """See cuda_graphs.Launch."""

    def __init__(self) -> None:
        self._results: dict[Hashable, Tensor] = {}

    def __call__(self, key: Hashable, work: Callable[[], Tensor]) -> Tensor:
        if key not in self._results:
            self._results[key] = work()
        return self._results[key]


class EndingReadback(LaggedReadback):
    """Ends every window after TOKENS steps, with two segments that fill it."""

    def finished(self, sequences: list[Decoding], state: RowState) -> list[Decoding]:
        for row, sequence in enumerate(sequences):
            if sequence.num_sampled >= TOKENS:
                sampled = state.sampled.part(row, 1)
                sampled.tokens[0, :TOKENS] = _tokens(sequence.tokenizer.timestamp_begin)
                sampled.num_sampled[0] = TOKENS
                sampled.sum_logprob[0] = -0.3 * TOKENS
                sampled.is_active[0] = 0
        return super().finished(sequences, state)


def _tokens(timestamp_begin: int) -> Tensor:
    text = [1000 + number for number in range(TOKENS // 2 - 2)]
    middle, end = timestamp_begin + 700, timestamp_begin + 1500
    return torch.tensor([timestamp_begin, *text, middle, middle, *text, end, end][:TOKENS], dtype=torch.int32)


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

    def encode(encoder: WindowEncoder, mels: Tensor) -> CrossCache:
        if len(mels) not in encoded:
            encoded[len(mels)] = _zeros(encoder._dims, len(mels))
        return encoded[len(mels)]

    def sizes(most_slots: int, most_positions: int, has_buckets: bool) -> PassSizes:
        return PassSizes(most_slots, most_positions, has_buckets=True)

    encoded: dict[int, CrossCache] = {}
    with ExitStack() as stack:
        for name, value in (("SLOTS", SLOTS), ("FEW_ROWS", 0), ("ENCODER_BATCH", 8)):
            stack.enter_context(patch.dict(getattr(batch_engine, name), cpu=value))
        stack.enter_context(patch.object(slot_batch, "PassSizes", sizes))
        stack.enter_context(patch.object(slot_batch, "launch_on", lambda device, slots: Replays()))
        stack.enter_context(patch.object(slot_batch, "readback_for", lambda device: EndingReadback()))
        stack.enter_context(patch.object(WindowEncoder, "encode", encode))
        stack.enter_context(fake_cuda())
        yield


def _zeros(dims: DecoderDims, slots: int) -> CrossCache:
    cross = CrossCache.empty(dims, slots)
    cross.keys.zero_()
    cross.values.zero_()
    return cross


@contextmanager
def worker_s_pipe() -> Iterator[tuple[WorkerInbox, WorkerOutbox]]:
    """To a server that takes every report and sends nothing."""
    ours, theirs = Pipe()

    def drain() -> None:
        try:
            while True:
                ours.recv_bytes()
        except EOFError:
            return

    thread = threading.Thread(target=drain, name="server", daemon=True)
    thread.start()
    try:
        yield WorkerInbox(theirs, lambda: None), WorkerOutbox(theirs)
    finally:
        theirs.close()
        thread.join()


def measure(
    engine: BatchEngine, inbox: WorkerInbox, outbox: WorkerOutbox, recordings: Sequence[Path], rounds: Rounds
) -> None:
    """All recordings at once, from the first to the last round."""
    for number, samples in enumerate(recordings):
        command = RunTask(f"task-{number}", f"attempt-{number}", MODEL, str(samples), OPTIONS)
        engine.start(command, Watched(command, inbox, outbox))
    while engine.is_busy:
        before = Watched.windows, Watched.tasks
        began = time.thread_time()
        engine.advance()
        seconds = time.thread_time() - began
        rounds.add(seconds, Watched.windows - before[0], Watched.tasks - before[1])


def samples_of(windows: int, folder: Path) -> Path:
    path = folder / f"{windows}.pcm"
    noise = np.random.default_rng(0).normal(0, 2000, int(windows * WINDOW_SECONDS * SAMPLE_RATE))
    path.write_bytes(noise.astype(np.int16).tobytes())
    return path


def measured(counts: Sequence[int], *, long_windows: int = LONG_WINDOWS) -> dict[str, Any]:
    """Medians in microseconds, as --json prints them; of ends, what they take beyond a quiet round of as many tasks.

    long_windows: of the task whose end is measured.
    """
    round_us, window_ends, task_ends = {}, [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        loaded_from_memory("whisper_core.engine.batch_engine", {MODEL: random_model(TOY, TOKENS, "cpu")}),
        fake_device(),
        worker_s_pipe() as (inbox, outbox),
    ):
        engine = BatchEngine("cpu", 1)
        engine.load(MODEL, Path(folder))
        short, hour, longer = (samples_of(each, Path(folder)) for each in (WINDOWS, long_windows, long_windows + 2))
        for count in counts:
            rounds = Rounds()
            measure(engine, inbox, outbox, [short] * count, rounds)
            quiet = statistics.median(rounds.quiet)
            round_us[str(count)] = round(quiet * US)
            window_ends += [seconds - quiet for seconds in rounds.window_ends]
        for _ in range(3):
            rounds = Rounds()
            measure(engine, inbox, outbox, [hour, longer], rounds)
            # After the other one the engine is idle, and frees memory.
            task_ends.append(rounds.task_ends[0] - statistics.median(rounds.quiet))
        engine.close()
    return {
        "round_us": round_us,
        "window_end_us": round(statistics.median(window_ends) * US),
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
    print(f"\nA window's end {figures['window_end_us']} us, the end of a task of an hour {figures['task_done_us']} us.")


if __name__ == "__main__":
    main()
