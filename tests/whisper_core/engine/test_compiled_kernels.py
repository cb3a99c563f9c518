"""Triton's kernels compile for the GPUs of today, down to the machine's code, on a machine without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.slow_cases import slow

H200, A100, T4 = 90, 80, 75  # their compute capabilities, without the point
KERNELS = {"embed", "add_norm", "attend_to_text", "attend_to_sound", "choose"}

pytest.importorskip("triton", reason="exists for Linux only")


@pytest.mark.parametrize("capability", [H200, slow(A100), slow(T4)])
def test_every_kernel_compiles(capability: int, tmp_path: Path) -> None:
    """In a process of its own, where nothing is interpreted, with an empty cache."""
    environ = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-m", "tests.whisper_core.engine.compile_kernels", str(capability)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == sorted(f"_{name}_kernel" for name in KERNELS)
