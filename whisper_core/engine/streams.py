"""Two CUDA streams of an engine: the decoder's steps go first, the encoder fills what they leave of the GPU.

A step is bound by memory and the encoder by arithmetic, so they run side by side. On the CPU there are no streams.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

DECODER_PRIORITY = -1  # lower is sooner: a step's small kernels must not queue behind the encoder's large ones
ENCODER_PRIORITY = 0


def new_stream(device: torch.device, priority: int) -> torch.cuda.Stream | None:
    """None on the CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]


@contextmanager
def on_stream(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """What this thread launches inside goes to the stream; the device is the stream's."""
    if stream is None:
        yield
        return
    with torch.cuda.stream(stream):
        yield
