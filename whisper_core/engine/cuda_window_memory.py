"""Where one model's windows are on a GPU: in places that are taken when the model is loaded and kept until it leaves.

The encoder writes a window's keys and values into its place, and there they stay until its last decoding. There are
as many places as windows may be decoded at a time, and some for those that are encoded ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from whisper_core.engine.decoding.cuda_graphs import new_launch
from whisper_core.engine.decoding.cuda_slots import CudaSlots
from whisper_core.engine.decoding.encoded_window import Encoded, Place
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.decoding.slot_batch import SlotBatch
from whisper_core.engine.decoding.upload_ring import UploadRing
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.slot_limit import SlotLimit

WINDOWS_AT_ONCE = (8, 4, 2, 1)


class CudaWindowMemory:
    """See WindowMemory. limit: how many places there are, whenever they are taken."""

    def __init__(self, model: LoadedModel, limit: SlotLimit) -> None:
        self._model = model
        self._limit = limit
        self._kept: _Kept | None = None

    @property
    def slots(self) -> int:
        return self._limit.slots if self._kept is None else min(self._kept.slots, self._limit.slots)

    @property
    def ahead(self) -> int:
        return self._limit.encoder_batch if self._kept is None else min(self._kept.ahead, self._limit.encoder_batch)

    @property
    def is_small(self) -> bool:
        return self.slots < self._limit.slots or self.ahead < self._limit.encoder_batch

    @property
    def is_released(self) -> bool:
        return self._kept is None

    def keeps(self, kind: SlotKind) -> bool:
        return kind == SlotKind()

    @torch.inference_mode()
    def prepare(self, run_in_encoder: Callable[[Callable[[], None]], None]) -> None:
        kept = self._take()
        kept.plain.prepare()
        run_in_encoder(kept.encoder.prepare)

    def places(self, count: int) -> list[Place | None]:
        return [self._take().take_place() for _ in range(count)]

    def encode(self, mels: Sequence[Tensor], places: Sequence[Place | None], *, detects: bool = False) -> Encoded:
        own = [place for place in places if isinstance(place, _Place)]
        encoder = own[0].kept.encoder
        return encoder.encode(mels, [place.number for place in own], detects=detects)

    def has_kept(self, place: Place | None) -> bool:
        return isinstance(place, _Place) and place.kept is self._kept

    def slot_batch(self, kind: SlotKind) -> SlotBatch:
        kept = self._take()
        if self.keeps(kind):
            return kept.plain
        return CudaSlots(self._model.decoder, self._model.rules_for(kind), kind.width, kept.cross, 1, kept.slots)

    def release(self) -> bool:
        kept, self._kept = self._kept, None
        if kept is None:
            return False
        kept.plain.release()
        return True

    def _take(self) -> _Kept:
        if self._kept is None:
            self._kept = _Kept.of(self._model, self._limit.slots, self._limit.encoder_batch)
            torch.cuda.current_stream().synchronize()  # the encoder uses another one
        return self._kept


@dataclass(eq=False)
class _Kept:
    slots: int
    ahead: int
    cross: CrossCache
    plain: CudaSlots
    encoder: _GraphEncoder
    free: list[int]

    @classmethod
    def of(cls, model: LoadedModel, slots: int, ahead: int) -> _Kept:
        cross = CrossCache.empty(model.decoder.dims, slots + ahead)
        plain = CudaSlots(model.decoder, model.rules, 1, cross, slots, slots)
        return cls(slots, ahead, cross, plain, _GraphEncoder(model, cross, ahead), list(range(slots + ahead)))

    def take_place(self) -> _Place:
        """Raises RuntimeError when there is none."""
        if not self.free:
            raise RuntimeError("more windows are in flight than there are places")
        return _Place(self.free.pop(), self)


@dataclass
class _Place:
    number: int
    kept: _Kept = field(repr=False)

    def free(self) -> None:
        """A pass that is under way may still read the place; what it computes there, nobody reads."""
        self.kept.free.append(self.number)


class _GraphEncoder:
    """Encodes as a graph whatever the places. The encoder's thread only, from `prepare` on."""

    def __init__(self, model: LoadedModel, cross: CrossCache, most: int) -> None:
        self._model = model
        self._cross = cross
        device = model.decoder.dims.device
        self._mels = torch.zeros(most, *model.encoder.mel_shape, device=device)
        self._places = torch.zeros(most, dtype=torch.int64, device=device)
        self._languages = torch.zeros(most, dtype=torch.int64, device=device)
        self._uploads = UploadRing(device)
        self._launch = new_launch()

    @torch.inference_mode()
    def prepare(self) -> None:
        for windows in WINDOWS_AT_ONCE:
            if windows <= len(self._mels):
                self._launch.prepare(("encode", windows), partial(self._encode, windows))
                if self._model.traits.is_multilingual:
                    self._launch.prepare(("language", windows), partial(self._detect, windows))

    def encode(self, mels: Sequence[Tensor], places: list[int], *, detects: bool) -> Encoded:
        """The languages arrive in the order of the current CUDA stream."""
        windows = len(places)
        for own, mel in zip(self._mels, mels, strict=False):
            own.copy_(mel, non_blocking=True)
        self._uploads.upload(places, self._places)
        self._launch(("encode", windows), partial(self._encode, windows))
        languages = None
        if detects:
            self._launch(("language", windows), partial(self._detect, windows))
            languages = torch.empty(windows, dtype=torch.int64, pin_memory=self._languages.is_cuda)
            languages.copy_(self._languages[:windows], non_blocking=True)
        return Encoded([self._cross.slots(place) for place in places], languages)

    def _encode(self, windows: int) -> None:
        self._model.encoder.encode_into(self._cross, self._places[:windows], self._mels[:windows])

    def _detect(self, windows: int) -> None:
        self._languages[:windows] = self._model.likeliest_languages(self._cross, self._places[:windows], windows)
