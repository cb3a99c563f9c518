"""What a slot batch does: it holds the windows that are decoded together, one in each slot, and takes their steps.

All searches in a slot batch are equally wide, so that the rows of one window lie together and share its cross-attention
cache, and suppress the same tokens. On the CPU (cpu_slots.py) windows are copied into slots that lie side by side; on a
GPU (cuda_slots.py) nothing that was encoded is moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from whisper_core.engine.decoding.choosing import Choose
from whisper_core.engine.decoding.row_state import SampledRows
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.network.dims import DecoderDims
from whisper_core.engine.network.layers import DecoderLayers
from whisper_core.engine.network.step_functions import StepFunctions


@dataclass(frozen=True)
class Decoder:
    """A model's text decoder, and the functions that compute it on its device."""

    layers: DecoderLayers
    dims: DecoderDims
    functions: StepFunctions
    choose: Choose


class SlotBatch(Protocol):
    kind: SlotKind
    """Of its slots."""

    sequences: list[Sequence]
    """In slots, in the order of their rows."""

    limit: int
    """Slots that it may grow to."""

    def add(self, sequence: Sequence) -> None:
        """Give an encoded window a free slot. Its prompt has to be read before the next step."""

    def replace(self, old: Sequence, new: Sequence) -> None:
        """Give a finished sequence's slot to the next window, or to the same window at its next temperature."""

    def remove(self, sequence: Sequence) -> None:
        """Free a slot."""

    def release(self) -> None:
        """Give the memory back at once, even while references to this slot batch remain. No window is in it then."""

    def prompts_to_read(self) -> list[list[Sequence]]:
        """The sequences whose prompts have not been read yet, those together whose prompts are."""

    def read_prompts(self, sequences: list[Sequence]) -> None:
        """Up to the first token, which is chosen. sequences: one of the lists of `prompts_to_read`."""

    def step(self) -> list[Sequence]:
        """Choose the next token of every row. Returns the sequences that have finished; they keep their slots."""

    def rows_of(self, sequence: Sequence) -> SampledRows:
        """What was sampled for a sequence that the latest step returned."""
