"""The card, its software, and what loading a model costs: whether the kernels are used, and how long graphs take."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version

import torch
from whisper.model import Whisper

from benchmarks.gpu_models import FilledSlots, full_limit, on_decoder_stream, placed
from benchmarks.gpu_part import Part
from benchmarks.gpu_timeline import Timeline, passes_in, wait_for_device
from benchmarks.machine import describe_machine
from whisper_core.engine.decoding.step_kernels import step_kernels_for
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.dims import DecoderDims
from whisper_core.engine.network.kernels import gpu_kernels
from whisper_core.upstream import matrix_dtype


def measure_start(part: Part) -> None:
    report = part.report
    report.text(f"{describe_machine()}, triton {_version_of('triton')}.")
    if not part.is_trial:
        major, minor = torch.cuda.get_device_capability()
        report.text(f"{torch.cuda.device_count()} card(s), compute capability {major}.{minor}.")
    dims = dims_of(placed(part, part.models[0]))
    began = time.perf_counter()
    kernels = step_kernels_for(dims)
    wait_for_device(part.is_trial)
    report.row(
        "Kernels, compiled and tried before the first model",
        {"functions of a step": kernels.functions.name, "seconds": time.perf_counter() - began},
    )
    for name in [*part.models, part.models[0]]:  # once more, when nothing is left to be compiled
        if part.budget.allows(15):
            load(part, name)
        else:
            report.left_out(f"a load of {name}")


def dims_of(model: Whisper) -> DecoderDims:
    """As the engine has them on a GPU, so that it finds the kernels tried."""
    return DecoderDims.of(model, matrix_dtype(model.device), gpu_kernels().cross_form)


def load(part: Part, name: str) -> None:
    model = placed(part, name)
    timeline = Timeline(part.is_trial)
    with on_decoder_stream(part), passes_in(timeline, part.is_trial):
        began = time.perf_counter()
        loaded = LoadedModel(model)
        wait_for_device(part.is_trial)
        laid_out = time.perf_counter()
        FilledSlots(loaded, full_limit(part))
        wait_for_device(part.is_trial)
    part.report.row(
        "Loads, one after the other, without reading weights",
        {
            "": name,
            "laid out, s": laid_out - began,
            "graphs captured, s": time.perf_counter() - laid_out,
            "graphs": len(timeline.prepared),
        },
    )


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
