"""One encoded window, and where its cross-attention keys and values are for as long as they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from whisper_core.audio.log_mel import Mel
from whisper_core.engine.network.cross_attention import CrossCache


class Place(Protocol):
    """Where a window's keys and values are written by the encoder, and where they stay on a GPU."""

    number: int  # among the places of its memory

    def free(self) -> None:
        """It may be given to another window."""


@dataclass(frozen=True)
class Encoded:
    """Windows that were encoded together."""

    cross: list[CrossCache]  # one slot each
    languages: Tensor | None = None  # (windows,) int64, on the host: their likeliest ones; None when nobody looked


class SlotHolder(Protocol):
    """A slot batch that copies windows into its slots, as far as a window in one of them needs it."""

    def cross_of(self, slot: int) -> CrossCache: ...


@dataclass
class EncodedWindow:
    """The answer to an Encode request.

    The keys and values belong to the window itself: on a GPU for as long as it is encoded, in its place; on the CPU
    until it gets a slot, and from then on they are in the slot. After `evict` the window has to be encoded again.
    """

    mel: Mel  # kept so that the window can be encoded again
    own_cross: CrossCache | None = None  # one slot
    place: Place | None = None  # on a GPU: where own_cross is
    language: str | None = None  # its likeliest one, where that was found while it was encoded
    holder: SlotHolder | None = None
    slot: int = -1  # in the holder
    num_decodings: int = 0  # attempts that have ended, each at a temperature of its own

    @property
    def is_encoded(self) -> bool:
        return self.own_cross is not None or self.holder is not None

    @property
    def cross(self) -> CrossCache:
        """One slot; a view when the window is in a slot batch. Raises RuntimeError when the window is not encoded."""
        if self.holder is not None:
            return self.holder.cross_of(self.slot)
        if self.own_cross is None:
            raise RuntimeError("the window is not encoded")
        return self.own_cross

    def move_into(self, holder: SlotHolder, slot: int) -> None:
        self.own_cross, self.holder, self.slot = None, holder, slot

    def detach(self) -> None:
        """Keep a copy of the keys and values, because the slot that holds them goes to another window."""
        if self.holder is not None:
            self.own_cross, self.holder, self.slot = self.cross.clone(), None, -1

    def evict(self) -> None:
        if self.place is not None:
            self.place.free()
        self.own_cross, self.place, self.holder, self.slot = None, None, None, -1
