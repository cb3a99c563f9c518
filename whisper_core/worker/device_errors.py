"""Turns the exceptions of torch and of other libraries into ours, and frees memory before an error is raised on."""

from __future__ import annotations

import ctypes
import gc
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from errors import DeviceLostError, EngineError, OutOfMemoryError, TaskError

T = TypeVar("T")

_NO_MEMORY_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
    "failed to allocate",  # CTranslate2
    "could not create a memory object",  # oneDNN
)
_LOST_SIGNS = ("cuda error", "cudnn_status", "cublas_status")


def guarded(call: Callable[[], T]) -> T:
    """Returns what `call` returns. A RuntimeError of torch's or a MemoryError is raised as OutOfMemoryError,
    DeviceLostError or EngineError, with the original traceback as a note; other exceptions pass.

    The original is dropped before memory is freed, because its traceback keeps the failed call's tensors alive.
    """
    try:
        return call()
    except (RuntimeError, MemoryError) as error:
        failure = as_task_error(error)
    free_memory()
    raise failure


def as_task_error(error: RuntimeError | MemoryError) -> TaskError:
    failure = _class_of(error)()
    failure.add_note("".join(traceback.format_exception(error)))
    return failure


def free_memory() -> None:
    """Returns unused memory to the device and to the machine."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Returns the C library's free memory to the machine, on Linux. glibc keeps 90 MB after loading `base`, and 70 MB
    after a task."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _class_of(error: RuntimeError | MemoryError) -> type[TaskError]:
    text = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in text for sign in _NO_MEMORY_SIGNS):
        return OutOfMemoryError
    if isinstance(error, torch.AcceleratorError) or any(sign in text for sign in _LOST_SIGNS):
        return DeviceLostError
    return EngineError
