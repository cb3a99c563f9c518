"""Which functions compute a step on a device: Triton's where they work, otherwise torch's.

A compiler on the machine of whoever runs the server may fail in ways that no test here foresees. So all kernels are
tried once on the device, before they are needed, and either all are used or none.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import NamedTuple

import torch

from errors import DeviceLostError, OutOfMemoryError
from whisper_core.engine.decoding import choosing
from whisper_core.engine.decoding.choice_check import wrong_choice
from whisper_core.engine.decoding.choosing import Choose
from whisper_core.engine.network.dims import DecoderDims
from whisper_core.engine.network.function_check import first_wrong
from whisper_core.engine.network.step_functions import TORCH_FUNCTIONS, StepFunctions
from whisper_core.worker.device_errors import as_task_error

log = logging.getLogger(__name__)


class StepKernels(NamedTuple):
    functions: StepFunctions
    choose: Choose


TORCH_KERNELS = StepKernels(TORCH_FUNCTIONS, choosing.choose)


@cache
def step_kernels_for(dims: DecoderDims) -> StepKernels:
    """Torch's functions on the CPU; on a GPU Triton's, or torch's and one line in the log where those do not work.

    The first call for a GPU and a size compiles and tries the kernels, which takes seconds and waits for the device.
    Raises torch's errors when the device is lost or out of memory.
    """
    device = dims.device
    if device.type != "cuda":
        return TORCH_KERNELS
    try:
        with torch.cuda.device(device):
            kernels = triton_kernels()
            wrong = first_wrong(kernels.functions, dims) or wrong_choice(kernels.choose, device)
            torch.cuda.synchronize(device)
    except ImportError:  # Triton exists for Linux only
        return _torch_because("not_installed")
    except Exception as error:
        if isinstance(error, RuntimeError) and isinstance(as_task_error(error), OutOfMemoryError | DeviceLostError):
            raise
        return _torch_because(type(error).__name__, error)
    return _torch_because(f"wrong_{wrong}") if wrong else kernels


def triton_kernels() -> StepKernels:
    """Not tried yet."""
    from whisper_core.engine.decoding.triton_choosing import choose
    from whisper_core.engine.network.triton_functions import TRITON_FUNCTIONS

    return StepKernels(TRITON_FUNCTIONS, choose)


def _torch_because(reason: str, error: Exception | None = None) -> StepKernels:
    log.warning("event=kernels_off reason=%s: torch's functions are used", reason, exc_info=error)
    return TORCH_KERNELS
