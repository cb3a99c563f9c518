"""Kinds of devices, and the two names of devices that mean the same everywhere."""

from __future__ import annotations

from typing import Literal

DeviceKind = Literal["cpu", "cuda"]

CPU_DEVICE = "cpu"
AUTO_DEVICE = "auto"  # whichever device the planner chooses
