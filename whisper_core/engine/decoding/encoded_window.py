"""One encoded window, and where its cross-attention keys and values are for as long as they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from whisper_core.audio.log_mel import Mel
from whisper_core.engine.network.cross_attention import CrossCache


class SlotHolder(Protocol):
    """A slot batch, as far as a window in one of its slots needs it."""

    def cross_of(self, slot: int) -> CrossCache: ...


@dataclass
class EncodedWindow:
    """The answer to an Encode request.

    The keys and values belong to the window itself until it gets a slot; from then on they are in the slot. After
    `evict` the window has to be encoded again.
    """

    mel: Mel  # kept so that the window can be encoded again
    own_cross: CrossCache | None = None  # one slot
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
        """Keep a copy of the keys and values, because the slot goes to another window."""
        self.own_cross, self.holder, self.slot = self.cross.clone(), None, -1

    def evict(self) -> None:
        self.own_cross, self.holder, self.slot = None, None, -1
