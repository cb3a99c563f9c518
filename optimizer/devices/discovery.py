"""Which devices this machine has, and how much memory of each may be reserved.

CUDA cards are found by NVML, so the web process learns their names and sizes without torch; where there is none the
machine itself is one CPU device. A card is handed to its worker by UUID, because NVML and CUDA may number cards
differently.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

from cluster_settings import NO_DEVICES
from config import Settings
from errors import StartError
from optimizer.common.kinds import DeviceKind
from optimizer.memory.probes import cpu_memory

log = logging.getLogger(__name__)

# Never reserved: the desktop, the driver and the allocator's fragments need some of it too.
HEADROOM_FRACTION = {"cpu": 0.10, "cuda": 0.05}


@dataclass(frozen=True)
class DeviceSpec:
    name: str  # what tasks ask for: `cpu` or `cuda:<NVML index>`
    kind: DeviceKind
    title: str
    total_bytes: int  # the size of the device's ledger
    gpu_uuid: str | None = None  # the card's NVML UUID; None for the CPU
    headroom_bytes: int = 0  # the part of total_bytes that is never reserved
    # Whether total_bytes is what was free at start, so that it grows when other programs give memory back. False when a
    # setting fixed it.
    follows_free: bool = False


def discover_devices(settings: Settings) -> list[DeviceSpec]:
    """The devices to use, by `DEVICES`. Raises StartError when a card that was asked for is not there."""
    if settings.devices == NO_DEVICES:
        return []
    if settings.devices == "cpu":
        return [cpu_device(settings)]
    cards = cuda_devices(os.environ)
    if settings.devices == "auto":
        return cards or [cpu_device(settings)]
    by_name = {card.name: card for card in cards}
    wanted = settings.devices.split(",")
    missing = [name for name in wanted if name not in by_name]
    if missing:
        found = ", ".join(by_name) or "none"
        raise StartError(f"DEVICES asks for {', '.join(missing)}, but the cards of this machine are: {found}.")
    return [by_name[name] for name in wanted]


def cpu_device(settings: Settings) -> DeviceSpec:
    """The machine itself: its ledger is what is free now, within the container's limit."""
    title = f"CPU, {settings.cpu_threads or usable_cores()} threads"
    if settings.cpu_memory_mb:
        return DeviceSpec("cpu", "cpu", title, settings.cpu_memory_mb * 1_000_000)
    _, free = cpu_memory()
    headroom = int(free * HEADROOM_FRACTION["cpu"])
    return DeviceSpec("cpu", "cpu", title, free, headroom_bytes=headroom, follows_free=True)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cuda_devices(environ: Mapping[str, str]) -> list[DeviceSpec]:
    """Every card that NVML and CUDA_VISIBLE_DEVICES let us use; empty without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.info("no CUDA devices: %s", error)
        return []
    try:
        cards = [_card(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    return [card for card in cards if visible is None or _is_visible(card, visible)]


def _card(pynvml: object, index: int) -> DeviceSpec:
    nvml = pynvml  # typed loosely: nvidia-ml-py ships no types
    handle = nvml.nvmlDeviceGetHandleByIndex(index)  # type: ignore[attr-defined]
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)  # type: ignore[attr-defined]
    return DeviceSpec(
        name=f"cuda:{index}",
        kind="cuda",
        title=str(nvml.nvmlDeviceGetName(handle)),  # type: ignore[attr-defined]
        # Free, not total: what other programs hold now is theirs.
        total_bytes=int(memory.free),
        headroom_bytes=int(memory.free * HEADROOM_FRACTION["cuda"]),
        follows_free=True,
        gpu_uuid=str(nvml.nvmlDeviceGetUUID(handle)),  # type: ignore[attr-defined]
    )


def _is_visible(card: DeviceSpec, visible: str) -> bool:
    """CUDA_VISIBLE_DEVICES names cards by index or by the beginning of their UUID."""
    index = card.name.removeprefix("cuda:")
    return any(entry == index or (entry and (card.gpu_uuid or "").startswith(entry)) for entry in visible.split(","))
