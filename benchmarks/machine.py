"""The machine that figures come from, in one line."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import psutil
import torch

from optimizer.common.machine import processor

# As people know them, by their names in /proc/cpuinfo.
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "bf16",
    "amx_tile": "AMX",
    "asimd": "NEON",
    "sve": "SVE",
}


def describe_machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{with_instructions(processor())}, {os.cpu_count()} cores, {memory:.0f} GiB{gpu}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, openai-whisper {version('openai-whisper')}"
    )


def with_instructions(processor: str) -> str:
    """processor: its name and then its vector instructions. The name alone may be a virtual machine's."""
    words = processor.split()
    name = " ".join(word for word in words if word not in INSTRUCTIONS)
    known = [title for flag, title in INSTRUCTIONS.items() if flag in words]
    return f"{name} ({', '.join(known)})" if known else name
