"""How many windows a device decodes at the same time, for the engine and for what estimates its memory."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# By kind of device. 16 brought 1.2 times what 8 did (docs/decisions.md); more was not measured on a CPU.
SLOTS: Mapping[str, int] = MappingProxyType({"cpu": 16, "cuda": 64})
