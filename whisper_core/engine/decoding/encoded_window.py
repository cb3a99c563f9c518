"""One encoded window: where its cross-attention keys and values are, as long as somebody may ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from whisper_core.audio.log_mel import Mel
from whisper_core.engine.network.cross_attention import CrossCache


class SlotHolder(Protocol):
    """A bank, as far as a window that lies in one of its slots needs it."""

    def cross_of(self, slot: int) -> CrossCache: ...


@dataclass
class EncodedWindow:
    """The answer to an Encode request. mel: kept to encode it again after it was evicted.

    Its keys and values are its own until it gets a slot, and then that slot's. num_decodings: that have ended.
    """

    mel: Mel
    own: CrossCache | None = None
    holder: SlotHolder | None = None
    slot: int = -1
    num_decodings: int = 0

    @property
    def is_encoded(self) -> bool:
        return self.own is not None or self.holder is not None

    @property
    def cross(self) -> CrossCache:
        """One slot; a view when the window lies in a bank. Only while is_encoded."""
        if self.holder is not None:
            return self.holder.cross_of(self.slot)
        if self.own is None:
            raise RuntimeError("the window is not encoded")
        return self.own

    def move_into(self, holder: SlotHolder, slot: int) -> None:
        self.own, self.holder, self.slot = None, holder, slot

    def detach(self) -> None:
        """Keep the keys and values although the slot goes to another window."""
        self.own, self.holder, self.slot = self.cross.clone(), None, -1

    def forget(self) -> None:
        self.own, self.holder, self.slot = None, None, -1
