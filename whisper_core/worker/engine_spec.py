"""What the server has to know of an engine before a device's process makes one. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from whisper_core.models.catalogue import ModelInfo


@dataclass(frozen=True, kw_only=True)
class MemoryNeeds:
    """Bytes that a model and its tasks take on a device: what is reserved until enough was measured."""

    weights: float  # of the resident model
    task: float  # of each task that runs
    shared: float = 0.0  # once, however many of the model's tasks run
    second: float = 0.0  # more for each second of a task's sound
    words: float = 0.0  # more for a task with word timestamps
    beam: float = 0.0  # more for each beam or sample of a task; see TranscribeOptions.beams


@dataclass(frozen=True)
class EngineSpec:
    """factory: `module:callable`, imported in the device's process only and called there as (device, cpu_threads); what
    it returns is described in engine_protocol.Engine.

    memory: what a model needs on `cpu` or `cuda`; None: as much as with the batch engine.
    holds_slots: whether its models hold their slots on a GPU from load on, as many as `load` is told (see
    engine_protocol.SlotHoldingEngine). Only without `memory`.
    """

    factory: str
    memory: Callable[[ModelInfo, Literal["cpu", "cuda"]], MemoryNeeds] | None = None
    holds_slots: bool = False
    has_int8_models: bool = False  # whether it computes the models whose names end in -int8
    is_for_cpus_only: bool = False
    requires: tuple[str, ...] = ()  # packages that must be importable, besides the factory's module
    install: str = ""  # the command that installs them, for the message that they are not there
