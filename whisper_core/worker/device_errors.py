"""torch's exceptions become ours here, and memory that ran out is given back before anybody hears of it."""

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

_NO_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
_LOST_SIGNS = ("cuda error", "cudnn_status", "cublas_status")


def guarded(call: Callable[[], T]) -> T:
    """What `call` returns. torch's RuntimeError and MemoryError are raised as OutOfMemoryError, DeviceLostError or
    EngineError, with the original's traceback as a note; other exceptions pass.

    The original is dropped before memory is freed: its traceback keeps the tensors of the failed call alive.
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
    """Give memory that nothing uses any more back to the device."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Give the C library's free memory back to the machine. glibc keeps it: 90 MB after loading `base`, 70 MB after a
    task. Elsewhere nothing happens."""
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
