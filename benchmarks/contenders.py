"""Who is measured: openai-whisper, faster-whisper in two ways, and this project without and with its server."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child_process import Child, Sound
from benchmarks.faster_whisper_model import make_folder
from benchmarks.measurement import Measurement
from benchmarks.recordings import Recording
from benchmarks.server_process import Server

OPENAI = "openai-whisper"
SEQUENTIAL = "faster-whisper, int8"
BATCHED = "faster-whisper batched, int8"


@dataclass(frozen=True)
class Contender:
    """measure: one run over all recordings, handed over at once."""

    name: str
    measure: Callable[[Sequence[Recording]], Measurement]


@dataclass(frozen=True)
class Plan:
    """faster_python: of the environment with faster-whisper, None to leave it out. engine: MODULE:CLASS, "" for none.
    settings: of the server."""

    models_dir: Path
    scratch: Path
    device: str
    faster_python: str | None
    engine: str
    has_server: bool
    modes: tuple[str, ...]
    settings: dict[str, str]


def engine_name(mode: str) -> str:
    return f"this engine, {mode}"


def server_name(mode: str) -> str:
    return f"this server, {mode}"


@contextmanager
def running_contenders(plan: Plan, model: str, warm_up: Recording) -> Iterator[list[Contender]]:
    """Every contender's process with the model loaded and used once."""
    with ExitStack() as stack:
        contenders = list(_start(plan, model, stack))
        for contender in contenders:
            contender.measure([warm_up])
        yield contenders


def _start(plan: Plan, model: str, stack: ExitStack) -> Iterator[Contender]:
    models_dir = str(plan.models_dir)

    def child(python: str, module: str, *arguments: str) -> Child:
        return stack.enter_context(Child(python, module, *arguments, "--device", plan.device))

    yield _of_child(OPENAI, child(sys.executable, "benchmarks.run_openai_whisper", model, models_dir))
    if plan.faster_python is not None:
        folder = str(make_folder(model, plan.models_dir, plan.scratch / "faster-whisper"))
        for name, way in ((SEQUENTIAL, "sequential"), (BATCHED, "batched")):
            yield _of_child(name, child(plan.faster_python, "benchmarks.run_faster_whisper", folder, way))
    if plan.engine:
        engine = child(sys.executable, "benchmarks.run_engine", model, models_dir, "--engine", plan.engine)
        for mode in plan.modes:
            yield _of_child(engine_name(mode), engine, mode)
    if plan.has_server:
        settings = {"DEVICES": plan.device, **plan.settings}
        server = stack.enter_context(Server(plan.scratch / f"server-{model}", model, plan.models_dir, settings))
        for mode in plan.modes:
            yield _of_server(server_name(mode), server, mode)


def _of_child(name: str, child: Child, mode: str = "exact") -> Contender:
    def measure(recordings: Sequence[Recording]) -> Measurement:
        return child.measure([Sound(recording.name, str(recording.samples_path)) for recording in recordings], mode)

    return Contender(name, measure)


def _of_server(name: str, server: Server, mode: str) -> Contender:
    return Contender(name, lambda recordings: server.measure(recordings, mode))


def measure_in_turns(
    contenders: Sequence[Contender], recordings: Sequence[Recording], repetitions: int
) -> dict[str, list[Measurement]]:
    """A B C, A B C …: what slows the machine for a while slows everyone."""
    runs: dict[str, list[Measurement]] = {contender.name: [] for contender in contenders}
    for turn in range(repetitions):
        for contender in contenders:
            run = contender.measure(recordings)
            runs[contender.name].append(run)
            print(f"  turn {turn + 1}: {contender.name}: {run.seconds:.1f} s", file=sys.stderr, flush=True)
    return runs


def median_run(runs: Sequence[Measurement]) -> Measurement:
    """The run of the median time (the lower one of two), so that all figures of a row belong together."""
    middle = statistics.median_low(run.seconds for run in runs)
    return next(run for run in runs if run.seconds == middle)
