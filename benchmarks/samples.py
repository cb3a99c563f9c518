"""Decoded sound as numbers. numpy only: the peers' environment reads this file too."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_samples(path: Path | str) -> np.ndarray:
    """float32 in [-1, 1], as openai-whisper reads them."""
    return np.fromfile(path, dtype="<i2").astype(np.float32) / 32768.0
