"""Files as openai-whisper's own, with the toy's random weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tests.whisper_core.toy_model import toy_dimensions, toy_model
from whisper_core.formats.dimensions import ModelDimensions


def write_checkpoint(
    path: Path, of: ModelDimensions | None = None, *, dtype: torch.dtype = torch.float16, **changes: Any
) -> Path:
    """of: the toy's dimensions, instead of its usual ones. changes: entries of the dictionary; of None is none."""
    path.parent.mkdir(exist_ok=True)
    model = toy_model(dims=of)
    state = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    entries = {"dims": asdict(of or toy_dimensions()), "model_state_dict": state, **changes}
    torch.save({name: entry for name, entry in entries.items() if entry is not None}, path)
    return path
