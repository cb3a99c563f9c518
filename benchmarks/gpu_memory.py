"""What models and their tasks take on a GPU beside what is promised them, with random weights.

A model's slots and graphs are taken when it is loaded, so most is promised with it. Then several models in one process,
and one that is loaded while another process leaves it too little memory for all of its slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from benchmarks.gpu_models import dimensions_of, new_engine
from benchmarks.gpu_neighbour import free_bytes, other_process
from benchmarks.gpu_part import Cell, Part
from benchmarks.gpu_speed import noises
from benchmarks.gpu_timeline import TRIAL_SLOTS, DirectLaunch, launched_by
from benchmarks.random_model import OPTIONS, loaded_from_memory, random_model
from benchmarks.run_engine import BATCH_ENGINE, commands_for, drive, measure
from errors import OutOfMemoryError
from optimizer.memory.formula import CONTEXT_BYTES, costs_formula, held_formula, weights_formula
from whisper_core.engine.decoding.cuda_graphs import new_launch
from whisper_core.models.catalogue import model_info

CASES = (
    ("turbo", 64),
    ("large-v3", 64),
    ("large-v3", 16),
    ("base", 64),
    ("tiny.en", 64),
    ("small", 64),
    ("medium", 64),
)
TRIAL_CASES = (("tiny", TRIAL_SLOTS),)
TOGETHER = ("turbo", "base", "tiny.en")
TIGHT, TIGHT_SLOTS = "turbo", 16  # there is room for about so many of its slots
LEFT_BYTES = 150_000_000
BEAMS = 5
WINDOWS = 2
WINDOW_S = 30.0
TOKENS = 30  # fewer than speech has: the caches are as large, whatever is said
MB = 1e6


def measure_memory(part: Part) -> None:
    with launched_by(DirectLaunch if part.is_trial else new_launch, part.is_trial):
        measure_context(part)
        for name, slots in TRIAL_CASES if part.is_trial else CASES:
            if part.budget.allows(15):
                measure_one(part, name, slots)
            else:
                part.report.left_out(f"the memory of {name} with {slots} slots")
        for what, measure_case in (("several models", measure_together), ("too little memory", measure_tight)):
            if part.budget.allows(15):
                measure_case(part)
            else:
                part.report.left_out(what)


def measure_context(part: Part) -> None:
    """What an engine takes before it has a model. First of all, because a process has one context."""
    free_before = 0 if part.is_trial else free_bytes()
    engine = new_engine(part)
    free_after = 0 if part.is_trial else free_bytes()
    part.report.row(
        "Memory: an engine without a model, MB",
        {
            "promised": CONTEXT_BYTES["cuda"] / MB,
            "measured by the engine": engine.memory().used / MB,
            "by NVML": (free_before - free_after) / MB,
        },
    )
    engine.close()


def measure_one(part: Part, name: str, slots: int) -> None:
    """One task, and as many as there are slots."""
    info = model_info(name)
    engine = new_engine(part)
    empty = engine.memory().used
    with random_models(part, name):
        engine.load(name, part.scratch, slots)
    loaded = engine.memory().used
    promised = weights_formula(info, "cuda") + held_formula(info, "cuda", slots)
    costs = costs_formula(info, "cuda")
    for count in (1, slots):
        measure(engine, name, noises(part.scratch, count, WINDOWS), OPTIONS)
        of_tasks = costs.shared + count * costs.own(WINDOWS * WINDOW_S)
        taken = engine.memory().peak - loaded
        part.report.row(
            "Memory: promised by formula and taken, MB",
            {
                "": f"{name}, {slots} slots",
                "tasks": count,
                "model promised": promised / MB,
                "after the load": (loaded - empty) / MB,
                "tasks promised": of_tasks / MB,
                "at the peak": taken / MB,
                "taken of all promised, %": 100 * (loaded - empty + taken) / (promised + of_tasks),
            },
        )
    engine.unload(name)
    engine.close()


def measure_together(part: Part) -> None:
    """Several models in one process, with tasks of all of them at the same time."""
    names = ("tiny", "base") if part.is_trial else TOGETHER
    engine = new_engine(part)
    empty = engine.memory().used
    promised = 0.0
    with random_models(part, *names):
        for name in names:
            engine.load(name, part.scratch)
            info, costs = model_info(name), costs_formula(model_info(name), "cuda")
            promised += weights_formula(info, "cuda") + held_formula(info, "cuda", engine.slots) + costs.shared
            promised += engine.slots // len(names) * costs.own(WINDOWS * WINDOW_S)
    sounds = noises(part.scratch, engine.slots // len(names), WINDOWS)
    drive(engine, [command for name in names for command in commands_for(name, sounds, OPTIONS)])
    taken = engine.memory().peak - empty
    cells: dict[str, Cell] = {"models": ", ".join(names), "tasks of each": len(sounds)}
    title = "Memory: several models in one process, MB"
    part.report.row(title, {**cells, "promised": promised / MB, "taken at the peak": taken / MB})
    for name in names:
        engine.unload(name)
    engine.close()


def measure_tight(part: Part) -> None:
    """Another process leaves a model room for a few slots, and then nearly nothing to tasks that need more: with beams.

    What the engine does then is in its warnings, which are in the report too.
    """
    name = "tiny" if part.is_trial else TIGHT
    info = model_info(name)
    room = weights_formula(info, "cuda") + held_formula(info, "cuda", TIGHT_SLOTS)
    engine = new_engine(part)
    with random_models(part, name), holder(part) as hold:
        hold(room)
        try:
            engine.load(name, part.scratch)
        except OutOfMemoryError:
            part.report.text(f"{name} was not loaded although {room / MB:.0f} MB were free.")
            return
        sounds = noises(part.scratch, TRIAL_SLOTS if part.is_trial else TIGHT_SLOTS, WINDOWS)
        for what, options in (("plain", OPTIONS), ("with beams", replace(OPTIONS, beam_size=BEAMS))):
            observers = drive(engine, commands_for(name, sounds, options))
            part.report.row(
                "Memory: beside a process that has nearly all of the card",
                {
                    "": f"{name}, {what}",
                    "slots": engine._models[name]._memory.slots,
                    "tasks": len(observers),
                    "completed": sum(observer.transcript is not None for observer in observers),
                    "failed": sum(observer.error is not None for observer in observers),
                },
            )
            hold(LEFT_BYTES)
    engine.unload(name)
    engine.close()


@contextmanager
def random_models(part: Part, *names: str) -> Iterator[None]:
    """They are loaded inside, from the host's memory."""
    models = {}
    for name in names:
        tokens = 5 if part.is_trial else TOKENS
        models[name] = random_model(dimensions_of(part, name), tokens, part.device).to("cpu")
    if not part.is_trial:
        torch.cuda.empty_cache()
    with loaded_from_memory(BATCH_ENGINE, models):
        yield


@contextmanager
def holder(part: Part) -> Iterator[Callable[[int], None]]:
    """Called with the bytes that another process is to leave free; without a card nothing is held."""
    if part.is_trial:
        yield lambda nbytes: None
        return
    with other_process() as hold:
        yield lambda nbytes: hold(max(0, free_bytes() - nbytes))
