"""Which simulations are run, and the rows that they give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.scheduling.outcome import Outcome
from benchmarks.scheduling.simulation import Simulation
from benchmarks.scheduling.traces import Pattern, TraceSpec, arrivals
from benchmarks.scheduling.virtual_device import Gain
from benchmarks.scheduling.world import KIND, Scheme, Service, World
from optimizer.memory.formula import costs_formula, weights_formula, workspace_formula
from whisper_core.models.catalogue import model_info

SERVICE_FILE = Path(__file__).with_name("service.json")
SHARES = {"tiny.en": 0.5, "base": 0.5}
SLOTS = 16
UPSTREAM = 2  # processes of openai-whisper side by side, each with half of the cores
PLAIN, THREADS, ARRIVAL, FULL = "one at a time", f"{UPSTREAM} × openai-whisper", "batches, by arrival", "this scheduler"
LIGHT_LOADS = (0.3, 0.5, 0.8, 0.95)
HEAVY_LOADS = (0.8, 0.95)
ONE_PLACE_LOADS = (0.7, 0.9)
ONE_PLACE_SPEEDS = (1, 20)  # times that of the machine on which the engine was measured
LONG_AUDIO_SECONDS = 3600.0


@dataclass(frozen=True)
class Row:
    """One run; the figures are those of Outcome."""

    scheme: str
    pattern: Pattern
    load: float  # relative to what one task at a time gets done
    capacity_load: float | None  # relative to what the batch engine gets done, where that was chosen
    devices: int
    memory: str
    tasks: int
    throughput: float
    mean_wait: float
    p95_wait: float
    most_wait: float
    mean_response: float
    memory_in_use: float
    loads: int
    passed_most: float
    over_memory: int
    stepped_aside: int
    decision_p99_ms: float


def read_service(file: Path = SERVICE_FILE) -> tuple[Service, dict[str, Any]]:
    """What `measure_service` measured, and its whole document. The gain is the mean over the models."""
    document = json.loads(file.read_text())
    models: Mapping[str, Any] = document["models"]
    gains = [dict(map(tuple, model["gain"])) for model in models.values()]
    points = [(count, sum(gain[count] for gain in gains) / len(gains)) for count in gains[0]]
    service = Service(
        speeds={name: model["speed"] for name, model in models.items()},
        gain=Gain(points),
        load_seconds={name: model["load_seconds"] for name, model in models.items()},
    )
    return service, document


def schemes(service: Service, document: Mapping[str, Any]) -> dict[str, Scheme]:
    """By name. With one task at a time openai-whisper and the batch engine are equally fast, but for the factor that
    was measured, which both of its schemes apply."""
    models = document["models"].values()
    upstream_one = sum(dict(map(tuple, model["upstream"]))[1] / model["speed"] for model in models) / len(models)
    upstream_two = sum(dict(map(tuple, model["upstream"]))[UPSTREAM] / model["speed"] for model in models) / len(models)
    return {
        PLAIN: Scheme(PLAIN, 1, Gain([(1, upstream_one)]), plain=True, order_by_work=False),
        THREADS: Scheme(
            THREADS, UPSTREAM, Gain([(1, upstream_one), (UPSTREAM, upstream_two)]), order_by_work=False,
            preempts=False, max_batch=1,
        ),
        ARRIVAL: Scheme(ARRIVAL, SLOTS, service.gain, order_by_work=False, preempts=False),
        FULL: Scheme(FULL, SLOTS, service.gain),
    }  # fmt: skip


def roomy(devices: int = 1) -> World:
    """Every model fits, and a long recording in every slot."""
    models = sum(
        weights_formula(model_info(model), KIND) + workspace_formula(model_info(model), KIND) for model in SHARES
    )
    tasks = SLOTS * max(costs_formula(model_info(model), KIND).own(LONG_AUDIO_SECONDS) for model in SHARES)
    return _world(int(1.5 * (models + tasks)), devices)


def tight(devices: int = 1) -> World:
    """One model and a few tasks fit; two models do not."""
    model = max(
        weights_formula(model_info(model), KIND) + workspace_formula(model_info(model), KIND) for model in SHARES
    )
    tasks = 6 * max(costs_formula(model_info(model), KIND).own(LONG_AUDIO_SECONDS) for model in SHARES)
    return _world(int(1.2 * model + tasks), devices)


def _world(capacity: int, devices: int) -> World:
    return World(devices, capacity, headroom_bytes=capacity // 20)


def run(
    scheme: Scheme, service: Service, world: World, spec: TraceSpec, memory: str, capacity_load: float | None = None
) -> Row:
    trace = arrivals(spec, dict(service.speeds), SHARES, world.devices)
    outcome = Simulation(scheme, service, world, seed=spec.seed).run(trace)
    return row_of(outcome, spec, world, memory, capacity_load)


def row_of(outcome: Outcome, spec: TraceSpec, world: World, memory: str, capacity_load: float | None) -> Row:
    return Row(
        scheme=outcome.scheme,
        pattern=spec.pattern,
        load=spec.load,
        capacity_load=capacity_load,
        devices=world.devices,
        memory=memory,
        tasks=spec.tasks,
        throughput=outcome.throughput,
        mean_wait=outcome.mean_wait,
        p95_wait=outcome.wait_quantile(0.95),
        most_wait=max(outcome.waits),
        mean_response=outcome.mean_response,
        memory_in_use=outcome.memory_in_use,
        loads=outcome.loads,
        passed_most=outcome.passed_most,
        over_memory=outcome.over_memory,
        stepped_aside=outcome.stepped_aside,
        decision_p99_ms=outcome.decision_quantile(0.99) * 1000,
    )


def light_rows(service: Service, by_name: Mapping[str, Scheme], tasks: int) -> Iterator[Row]:
    """Loads that one task at a time can keep up with."""
    for load in LIGHT_LOADS:
        for pattern in ("poisson", "bursty"):
            for scheme in by_name.values():
                yield run(scheme, service, roomy(), TraceSpec(tasks, load, pattern), "roomy")


def heavy_rows(service: Service, by_name: Mapping[str, Scheme], tasks: int) -> Iterator[Row]:
    """Loads that only batches can keep up with."""
    for capacity_load in HEAVY_LOADS:
        load = capacity_load * service.gain.at(SLOTS)
        for pattern in ("poisson", "bursty"):
            for name in (PLAIN, ARRIVAL, FULL):
                spec = TraceSpec(tasks, load, pattern)
                yield run(by_name[name], service, roomy(), spec, "roomy", capacity_load)


def four_card_rows(service: Service, by_name: Mapping[str, Scheme], tasks: int) -> Iterator[Row]:
    """Four devices, on each of which only one model fits at a time."""
    load = 0.5 * service.gain.at(SLOTS)
    for name in (PLAIN, ARRIVAL, FULL):
        yield run(by_name[name], service, tight(4), TraceSpec(tasks, load, "bursty"), "tight", 0.5)


def one_place_rows(service: Service, tasks: int, times_as_fast: int) -> Iterator[Row]:
    """One task at a time, with and without stepping aside, on a machine so many times as fast."""
    faster = replace(service, speeds={model: speed * times_as_fast for model, speed in service.speeds.items()})
    alone = Gain([(1, 1.0)])
    for load in ONE_PLACE_LOADS:
        for scheme in (Scheme("nobody steps aside", 1, alone, preempts=False), Scheme(FULL, 1, alone)):
            yield run(scheme, faster, roomy(), TraceSpec(tasks, load, "poisson"), "roomy")


def million_rows(service: Service, by_name: Mapping[str, Scheme], tasks: int) -> Iterator[Row]:
    """The long runs, in bursts and with noisy estimates: with memory for one model at a time; and with a fifth as many
    tasks and memory for all, where only the order makes anybody wait."""
    load = 0.5 * service.gain.at(SLOTS)
    yield run(by_name[FULL], service, tight(), TraceSpec(tasks, load, "bursty"), "tight", 0.5)
    yield run(by_name[FULL], service, roomy(), TraceSpec(tasks // 5, load, "bursty"), "roomy", 0.5)
