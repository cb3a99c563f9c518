"""What systemd says of a unit of ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def assert_understood(unit: Path) -> None:
    # Unknown words are only warned of; of other units, which this machine may lack, nothing is said here.
    done = _analyze("verify", "--recursive-errors=no", str(unit))
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if unit.stem in line]
    assert (done.returncode, complaints) == (0, [])


def assert_exposes_at_most(tenths: int, unit: Path) -> None:
    """tenths: of systemd's scale from 0 to 10."""
    done = _analyze("security", "--offline=true", f"--threshold={tenths}", str(unit))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)
