"""What models and their tasks really take on a GPU beside what is reserved for them, with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.document import table
from benchmarks.gpu_speed import noise
from benchmarks.random_model import OPTIONS, loaded_from_memory, random_model
from benchmarks.run_engine import BATCH_ENGINE, make_engine, measure
from optimizer.common.kinds import DeviceKind
from optimizer.memory.formula import CONTEXT_BYTES, costs_formula, held_formula, weights_formula
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.models.catalogue import model_info

WINDOWS = 2
TOKENS_PER_WINDOW = 30  # fewer than speech has: the caches are as large, whatever is said
HEADS = (
    "",
    "tasks",
    "model with its slots predicted, MB",
    "measured",
    "tasks predicted, MB",
    "measured",
    "measured of all predicted",
)


@dataclass(frozen=True)
class MemoryRow:
    """Bytes. predicted and measured: of the model with all that it holds on a GPU, and of everything that the tasks add
    at their peak."""

    model: str
    tasks: int
    model_predicted: int
    model_measured: int
    tasks_predicted: int
    tasks_measured: int

    @property
    def share(self) -> float:
        return (self.model_measured + self.tasks_measured) / (self.model_predicted + self.tasks_predicted)


def measure_memory(
    name: str, dimensions: ModelDimensions, device: str, counts: Sequence[int], scratch: Path
) -> list[MemoryRow]:
    """With so many tasks of several windows at once, one number of tasks after the other."""
    kind: DeviceKind = "cpu" if device == "cpu" else "cuda"
    model = random_model(dimensions, TOKENS_PER_WINDOW, device).to("cpu")
    if kind == "cuda":
        torch.cuda.empty_cache()
    sounds = [noise(scratch / f"{number}.pcm", WINDOWS, number) for number in range(max(counts))]
    engine = make_engine(BATCH_ENGINE, device)
    empty = engine.memory().used
    with loaded_from_memory(BATCH_ENGINE, {name: model}):
        engine.load(name, scratch)
    loaded = engine.memory().used
    info = model_info(name)
    costs, held = costs_formula(info, kind), held_formula(info, kind, engine.slots)
    rows = []
    for count in counts:
        measure(engine, name, sounds[:count], OPTIONS)
        predicted = costs.shared + count * costs.own(WINDOWS * 30.0)
        rows.append(
            MemoryRow(
                name, count, weights_formula(info, kind) + held, loaded - empty, int(predicted),
                engine.memory().peak - loaded,
            )
        )  # fmt: skip
    engine.unload(name)
    return rows


def context_line(device: str) -> str:
    """What a process takes on the device before it has a model, as the meter sees it; once in a process."""
    engine = make_engine(BATCH_ENGINE, device)
    measured = engine.memory().used
    return f"Context: {measured / 1e6:.0f} MB measured, {CONTEXT_BYTES['cuda'] / 1e6:.0f} MB reserved."


def memory_table(rows: Sequence[MemoryRow]) -> str:
    return table(
        HEADS,
        [
            [row.model, str(row.tasks), *(f"{nbytes / 1e6:,.0f}" for nbytes in (
                row.model_predicted, row.model_measured, row.tasks_predicted, row.tasks_measured
            )), f"{100 * row.share:.0f} %"]
            for row in rows
        ],
    )  # fmt: skip
