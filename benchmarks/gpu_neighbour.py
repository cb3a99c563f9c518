"""Another process on the same card, and how much of it is free."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pynvml

GIVE_BACK = -1


@contextmanager
def other_process() -> Iterator[Any]:
    """A process that holds memory of the card: called with bytes, it takes so many more; GIVE_BACK frees all."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(theirs,))
    process.start()

    def hold(nbytes: int) -> None:
        ours.send(nbytes)
        ours.recv()

    try:
        hold(0)  # its context is there then
        yield hold
    finally:
        ours.close()
        process.join()


def _hold(connection: Connection) -> None:
    import torch

    held = [torch.zeros(1, device="cuda")]
    while True:
        try:
            nbytes = connection.recv()
        except EOFError:
            return
        if nbytes > 0:
            held.append(torch.empty(nbytes, dtype=torch.uint8, device="cuda"))
        elif nbytes == GIVE_BACK:
            held.clear()
            torch.cuda.empty_cache()
        connection.send(None)


def free_bytes() -> int:
    """Of the first card, by NVML."""
    pynvml.nvmlInit()
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).free)
    finally:
        pynvml.nvmlShutdown()
