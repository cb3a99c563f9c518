"""Who is measured: the other projects, and this one without and with its server, all at the same precision."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child_process import Child, Sound
from benchmarks.measurement import Measurement
from benchmarks.peers import Peer, Precision, Source
from benchmarks.recordings import Recording
from benchmarks.server_process import Server


@dataclass(frozen=True)
class Contender:
    """measure: one run over all recordings, handed over at once."""

    name: str
    measure: Callable[[Sequence[Recording]], Measurement]


@dataclass(frozen=True)
class Plan:
    """peers_python: of the environment with the other projects, None to leave it out. engine: MODULE:CLASS, "" for
    none. modes: this project's, none to leave it out. settings: of the server."""

    models_dir: Path
    scratch: Path
    peers_python: str | None
    engine: str
    has_server: bool
    modes: tuple[str, ...]
    settings: dict[str, str]


def engine_name(mode: str) -> str:
    return f"this engine, {mode}"


def server_name(mode: str) -> str:
    return f"this server, {mode}"


def own_model(model: str, precision: Precision) -> str:
    """What this project calls the model at that precision."""
    return model if precision is Precision.FP32 else f"{model}-{precision}"


@contextmanager
def running_contenders(
    plan: Plan, peers: Sequence[Peer], model: str, precision: Precision, warm_up: Recording
) -> Iterator[list[Contender]]:
    """Every contender's process with the model loaded and used once."""
    with ExitStack() as stack:
        contenders = [
            *_start_peers(plan, peers, model, stack),
            *(_start_own(plan, own_model(model, precision), stack) if plan.modes else ()),
        ]
        for contender in contenders:
            contender.measure([warm_up])
        yield contenders


def _start_peers(plan: Plan, peers: Sequence[Peer], model: str, stack: ExitStack) -> Iterator[Contender]:
    for peer in peers:
        python = sys.executable if peer.package is None else plan.peers_python
        assert python is not None, "a peer is only there where its environment is"
        command = peer.command(Source(model, plan.models_dir, plan.scratch, python))
        yield _of_child(peer.name, stack.enter_context(Child(python, *command)))


def _start_own(plan: Plan, model: str, stack: ExitStack) -> Iterator[Contender]:
    """model: as this project calls it."""
    if plan.engine:
        arguments = (model, str(plan.models_dir), "--engine", plan.engine)
        engine = stack.enter_context(Child(sys.executable, "benchmarks.run_engine", *arguments))
        for mode in plan.modes:
            yield _of_child(engine_name(mode), engine, mode)
    if plan.has_server:
        settings = {"DEVICES": "cpu", **plan.settings}
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
    """A B C, C B A, A B C …: what slows the machine for a while, or a neighbour leaves behind, meets everyone."""
    runs: dict[str, list[Measurement]] = {contender.name: [] for contender in contenders}
    for turn in range(repetitions):
        for contender in reversed(contenders) if turn % 2 else contenders:
            run = contender.measure(recordings)
            runs[contender.name].append(run)
            print(f"  turn {turn + 1}: {contender.name}: {run.seconds:.1f} s", file=sys.stderr, flush=True)
    return runs


def median_run(runs: Sequence[Measurement]) -> Measurement:
    """The run of the median time (the lower one of two), so that all figures of a row belong together."""
    middle = statistics.median_low(run.seconds for run in runs)
    return next(run for run in runs if run.seconds == middle)
