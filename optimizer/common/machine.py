"""What the machine is made of, as far as measurements depend on it."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

# Vector instructions for which matrix libraries have kernels, and so memory needs, of their own; as /proc/cpuinfo says.
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "asimd", "sve")


def oom_kills() -> int | None:
    """How many processes the kernel has killed so far because memory ran out; None where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


@cache
def processor() -> str:
    """The processor's name and its vector instructions: the name alone may be a virtual machine's."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(_field(line) for line in text.splitlines() if ":" in line)
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    name = fields.get("model name") or platform.machine()
    return " ".join([name, *(each for each in _INSTRUCTIONS if each in flags)])


def boot_id() -> str:
    """Names this start of the machine, which a killed process does not change and a power cut does; "" if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()
