"""The kinds of devices, and the two device names that mean the same on every machine."""

from __future__ import annotations

from typing import Literal

DeviceKind = Literal["cpu", "cuda"]

CPU_DEVICE = "cpu"
AUTO_DEVICE = "auto"  # whichever device the planner chooses
