"""Where one model's windows are, from their encoding to their last decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from whisper_core.engine.cuda_window_memory import CudaWindowMemory
from whisper_core.engine.decoding.cpu_slots import CpuSlots
from whisper_core.engine.decoding.encoded_window import Encoded, Place
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.decoding.slot_batch import SlotBatch
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.slot_limit import SlotLimit


class WindowMemory(Protocol):
    """The engine's thread only, but for `encode`."""

    @property
    def slots(self) -> int:
        """Windows that may be decoded at a time."""

    @property
    def ahead(self) -> int:
        """Windows that may be encoded together, and beyond those."""

    @property
    def is_small(self) -> bool:
        """Whether more was allowed since what is kept was taken."""

    @property
    def is_released(self) -> bool:
        """Whether something is to be kept and has been given back. It is not to be taken again before all windows that
        were being encoded are over, because they still have it."""

    def prepare(self, run_in_encoder: Callable[[Callable[[], None]], None]) -> None:
        """Take what is kept for as long as the model is resident, and make its passes fast.

        run_in_encoder: runs a call in the encoder's thread and waits for it.
        """

    def keeps(self, kind: SlotKind) -> bool:
        """Whether slots of that kind are kept although no window is in them."""

    def places(self, count: int) -> list[Place | None]:
        """For windows that are going to be encoded; None where they need none."""

    def encode(self, mels: Sequence[Tensor], places: Sequence[Place | None], *, detects: bool = False) -> Encoded:
        """mels: float32 (n_mels, 3000) each. detects: whether languages will be asked for. Any thread."""

    def has_kept(self, place: Place | None) -> bool:
        """Whether what was encoded there is still there: not when the memory was released meanwhile."""

    def slot_batch(self, kind: SlotKind) -> SlotBatch:
        """For at most `slots` windows. A new one, which the caller releases, unless the kind is kept."""

    def release(self) -> bool:
        """Give back what is kept; it is taken again when it is needed, and its passes are then prepared by being used.
        Takes no memory. Returns whether there was anything.

        No window may be in flight but those that are being encoded.
        """


class CpuWindowMemory:
    """Nothing is kept: a window takes memory when it is encoded, and its slot when it gets one."""

    def __init__(self, model: LoadedModel, limit: SlotLimit) -> None:
        self._model = model
        self._limit = limit

    @property
    def slots(self) -> int:
        return self._limit.slots

    @property
    def ahead(self) -> int:
        return self._limit.encoder_batch

    @property
    def is_small(self) -> bool:
        return False

    @property
    def is_released(self) -> bool:
        return False

    def prepare(self, run_in_encoder: Callable[[Callable[[], None]], None]) -> None:
        """Nothing has to be."""

    def keeps(self, kind: SlotKind) -> bool:
        return False

    def places(self, count: int) -> list[Place | None]:
        return [None] * count

    def encode(self, mels: Sequence[Tensor], places: Sequence[Place | None], *, detects: bool = False) -> Encoded:
        cross = self._model.encoder.encode(torch.stack([*mels]))
        return Encoded([cross.slots(number) for number in range(len(mels))])

    def has_kept(self, place: Place | None) -> bool:
        return True

    def slot_batch(self, kind: SlotKind) -> SlotBatch:
        return CpuSlots(self._model.decoder, self._model.rules_for(kind), kind.width, self._limit.slots)

    def release(self) -> bool:
        return False


def window_memory_for(model: LoadedModel, limit: SlotLimit) -> WindowMemory:
    is_gpu = model.decoder.dims.device.type == "cuda"
    return CudaWindowMemory(model, limit) if is_gpu else CpuWindowMemory(model, limit)
