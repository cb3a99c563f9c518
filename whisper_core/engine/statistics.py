"""What an engine has done since it was created, for benchmarks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EngineStatistics:
    slots: int = 0  # windows that can be decoded at the same time
    windows: int = 0  # decoded at least once
    tokens: int = 0  # sampled, in all attempts
    steps: int = 0  # of the decoder
    step_windows: int = 0  # in slots, summed over the steps
    fallbacks: int = 0  # windows that needed more than one temperature
