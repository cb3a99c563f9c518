"""Why a task waits: a code and figures for programs and translations, an English sentence for everyone else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import ceil

from optimizer.common.text import in_gigabytes


class WaitCode(Enum):
    MEMORY_SHORT = "memory_short"
    TASKS_AHEAD = "tasks_ahead"
    BATCH_FORMING = "batch_forming"
    MODEL_FETCHING = "model_fetching"
    MODEL_MISSING = "model_missing"
    MODEL_LACKING = "model_lacking"
    DEVICE_STARTING = "device_starting"
    DEVICE_UNKNOWN = "device_unknown"
    TOO_BIG = "too_big"
    RETRY_DELAY = "retry_delay"
    MEMORY_DELAY = "memory_delay"
    PREPARING = "preparing"
    DISK_SHORT = "disk_short"


@dataclass(frozen=True)
class WaitReason:
    code: WaitCode
    text: str
    data: Mapping[str, float | int | str] = field(default_factory=dict)  # figures in `text`; fractions are 0 to 1

    def __str__(self) -> str:
        return self.text


def memory_short(missing_bytes: int, device: str) -> WaitReason:
    text = f"waits: {in_gigabytes(missing_bytes)} short on {device}"
    return WaitReason(WaitCode.MEMORY_SHORT, text, {"missing_bytes": missing_bytes, "device": device})


def tasks_ahead(count: int) -> WaitReason:
    text = f"waits: {count} {'task' if count == 1 else 'tasks'} ahead"
    return WaitReason(WaitCode.TASKS_AHEAD, text, {"count": count})


def batch_forming(model: str) -> WaitReason:
    text = f"waits: to start together with other tasks of model {model}"
    return WaitReason(WaitCode.BATCH_FORMING, text, {"model": model})


def model_fetching(model: str, fraction: float) -> WaitReason:
    text = f"waits: model {model} is being fetched ({int(fraction * 100)} %)"
    return WaitReason(WaitCode.MODEL_FETCHING, text, {"model": model, "fraction": fraction})


def model_missing(model: str, message: str | None = None) -> WaitReason:
    """message: why it could not be fetched, in public words."""
    if message is None:
        return WaitReason(WaitCode.MODEL_MISSING, f"waits: model {model} is not here yet", {"model": model})
    text = f"waits: model {model} is not here. {message}"
    return WaitReason(WaitCode.MODEL_MISSING, text, {"model": model, "message": message})


def model_lacking(model: str, devices: str) -> WaitReason:
    """devices: those that it may run on, of machines which could not get its weights."""
    text = f"waits: the weights of model {model} are not available on {devices}"
    return WaitReason(WaitCode.MODEL_LACKING, text, {"model": model, "devices": devices})


def device_starting(device: str) -> WaitReason:
    return WaitReason(WaitCode.DEVICE_STARTING, f"waits: {device} is starting", {"device": device})


def device_unknown(device: str) -> WaitReason:
    return WaitReason(WaitCode.DEVICE_UNKNOWN, f"waits: this server has no device {device}", {"device": device})


def too_big(needed_bytes: int, available_bytes: int, device: str) -> WaitReason:
    text = (
        f"cannot run here: it needs {in_gigabytes(needed_bytes)} and {device} has {in_gigabytes(available_bytes)};"
        " choose a smaller model"
    )
    figures = {"needed_bytes": needed_bytes, "available_bytes": available_bytes}
    return WaitReason(WaitCode.TOO_BIG, text, {**figures, "device": device})


def retry_delay(seconds: float) -> WaitReason:
    whole = max(1, ceil(seconds))
    return WaitReason(WaitCode.RETRY_DELAY, f"waits: next try in {whole} s", {"seconds": whole})


def memory_delay(seconds: float) -> WaitReason:
    whole = max(1, ceil(seconds))
    text = f"waits: the device had no memory for it; next try in {whole} s"
    return WaitReason(WaitCode.MEMORY_DELAY, text, {"seconds": whole})


def preparing() -> WaitReason:
    return WaitReason(WaitCode.PREPARING, "waits: the file is being read")


def disk_short() -> WaitReason:
    return WaitReason(WaitCode.DISK_SHORT, "waits: the disk is nearly full, so the file cannot be read")
