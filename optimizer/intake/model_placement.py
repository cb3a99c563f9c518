"""Where a model's tasks may run: int8 models on CPUs only, and only with the engine that can pack them."""

from __future__ import annotations

from collections.abc import Collection

from errors import InvalidOptionError
from optimizer.common.kinds import AUTO_DEVICE, CPU_DEVICE
from whisper_core.models.catalogue import ModelInfo


def device_to_request(model: ModelInfo, wanted: str) -> str:
    """The device of a new task: `cpu` in place of `auto` for a model that runs on CPUs only."""
    return CPU_DEVICE if model.is_for_cpus_only and wanted == AUTO_DEVICE else wanted


def refusal_of(
    model: ModelInfo,
    device: str,
    *,
    known_devices: Collection[str],
    may_use_cpu: bool,
    no_int8_reason: str | None,
) -> InvalidOptionError | None:
    """Why the server takes no such task; None when it does.

    device: from `device_to_request`; the CPU need not be known yet for a model that runs only there. may_use_cpu,
    no_int8_reason: see DeviceFleet and SchedulingPath.
    """
    if not model.is_for_cpus_only:
        is_known = device in (AUTO_DEVICE, *known_devices)
        return None if is_known else InvalidOptionError(f"This server has no device {device}.", field="device")
    other = f"Choose the model {model.weights_name}"
    if no_int8_reason is not None:
        return InvalidOptionError(f"This server has no int8 models, because {no_int8_reason}. {other}.", field="model")
    if device != CPU_DEVICE:
        return InvalidOptionError(
            f"The model {model.name} runs on CPUs only. Choose the device cpu or auto. {other} for a GPU.",
            field="device",
        )
    if not may_use_cpu:
        return InvalidOptionError(
            f"The model {model.name} runs on CPUs only, and this server cannot use its CPU as a device. {other}.",
            field="device",
        )
    return None
