"""Where the project and the tests' own recordings are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
MODELS_DIR = ROOT / "data" / "models"

SHORT = DATA / "librivox-0880.flac"  # 3 s
MINUTE = DATA / "dev-minute-01.flac"  # 68 s: three windows
