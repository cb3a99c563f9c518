"""Runs the tests of the page's JavaScript modules (`npm test`)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT


def find_node() -> str | None:
    """The one on PATH, or the one that set-up installed beside Python because there was none."""
    return shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))


def test_the_page_s_modules() -> None:
    node = find_node()
    if node is None:
        pytest.skip("Node is not installed")
    files = sorted(str(path) for path in (ROOT / "tests" / "page").glob("*.test.mjs"))
    assert files
    done = subprocess.run([node, "--test", *files], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
