"""What an engine has done since it was made, for benchmarks and for the monitor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EngineStatistics:
    """windows: decoded at all. tokens: sampled, in all their attempts. steps: of the decoder. step_rows: the sum of the
    rows that were active over the steps. slots: windows that can be decoded at the same time. fallbacks: windows for
    which the first temperature did not do. encode_seconds, decode_seconds: of wall clock in each; they overlap.
    """

    slots: int = 0
    windows: int = 0
    tokens: int = 0
    steps: int = 0
    step_rows: int = 0
    fallbacks: int = 0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0

    @property
    def occupancy(self) -> float:
        """Mean share of the slots that were active in a step."""
        return self.step_rows / (self.steps * self.slots) if self.steps else 0.0
