"""The processor as measurements name it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from optimizer.common import machine

EPYC = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [(EPYC, "AMD EPYC avx2 avx512f avx512_vnni"), (ARM, "a machine asimd sve"), ("", "a machine")],
)
def test_a_processor_is_its_name_and_its_vector_instructions(
    cpuinfo: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: cpuinfo)
    monkeypatch.setattr(platform, "machine", lambda: "a machine")
    assert machine.processor.__wrapped__() == expected


def test_without_proc_it_is_what_python_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    monkeypatch.setattr(platform, "processor", lambda: "a processor")
    assert machine.processor.__wrapped__() == "a processor"
