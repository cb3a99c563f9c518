"""Small lists of numbers on their way to a GPU, through pinned memory that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Eight prompts of the longest kind are 2,100 numbers, so a half holds those of more windows than start in a round.
_HALF = 64 * 1024


class _Half:
    def __init__(self, device: torch.device) -> None:
        self.memory = torch.empty(_HALF, dtype=torch.int64, pin_memory=device.type == "cuda")
        self.numbers = self.memory.numpy()
        self.used = 0
        self._copied: torch.cuda.Event | None = None  # when the last of what was in it had arrived

    def leave(self) -> None:
        self._copied = torch.cuda.current_stream().record_event()

    def enter(self) -> None:
        """Waits until nothing in it is on its way any more, which is long past as a rule."""
        if self._copied is not None:
            self._copied.synchronize()
        self.used = 0


class UploadRing:
    """Memory that is read by a copy under way must not be written, so it is used half by half."""

    def __init__(self, device: torch.device) -> None:
        self._halves = cycle([_Half(device), _Half(device)])
        self._half = next(self._halves)

    def upload(self, values: Sequence[int] | npt.NDArray[np.int64], target: Tensor) -> None:
        """Into the first places of `target`, int64, in the order of the current CUDA stream. At most 65,536."""
        if self._half.used + len(values) > _HALF:
            self._half.leave()
            self._half = next(self._halves)
            self._half.enter()
        first = self._half.used
        self._half.used += len(values)
        self._half.numbers[first : self._half.used] = values
        target[: len(values)].copy_(self._half.memory[first : self._half.used], non_blocking=True)
