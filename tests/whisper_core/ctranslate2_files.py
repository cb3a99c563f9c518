"""Files as CTranslate2's converter writes a Whisper, with the toy's random weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.whisper_core.toy_model import TOY_HEADS, toy_dimensions, toy_model
from whisper_core.models.ctranslate2 import expected_variables

Variables = dict[str, np.ndarray]


def toy_state() -> dict[str, torch.Tensor]:
    return {name: tensor.half() for name, tensor in toy_model().state_dict().items()}


def toy_variables() -> Variables:
    """The toy model's tensors, named and stacked as in CTranslate2."""
    state = {name: tensor.numpy() for name, tensor in toy_state().items()}
    variables: Variables = {"decoder/num_heads": np.array(2, dtype="<i2")}
    for name, part in expected_variables(toy_dimensions()).items():
        rows = part.shape[0] // len(part.names)
        zeros = np.zeros((rows,), dtype="<f2")
        variables[name] = np.concatenate([zeros if target is None else state[target] for target in part.names])
    return variables


def write_ct2(path: Path, variables: Variables, version: int = 6, kind: str = "WhisperSpec") -> Path:
    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    types = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    parts = [struct.pack("<I", version), string(kind), struct.pack("<II", 3, len(variables))]
    for name, array in variables.items():
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        parts += [string(name), shape, struct.pack("<BI", types[array.dtype.name], array.nbytes), array.tobytes()]
    parts.append(struct.pack("<I", 0))
    path.write_bytes(b"".join(parts))
    return path


def quantised(variables: Variables) -> Variables:
    """With every matrix and convolution in int8, and the scales of its rows."""
    found: Variables = {}
    for name, array in variables.items():
        if array.ndim < 2 or "position" in name:
            found[name] = array
            continue
        rows = array.astype("<f4").reshape(len(array), -1)
        scale = (127 / np.abs(rows).max(axis=1)).astype("<f4")
        found[name] = np.rint(rows * scale[:, None]).astype(np.int8).reshape(array.shape)
        found[f"{name}_scale"] = scale
    return found


def write_converted_folder(folder: Path, variables: Variables | None = None, **configuration: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    heads = {f"{stack}/num_heads": np.array(TOY_HEADS, dtype="<i2") for stack in ("encoder", "decoder")}
    write_ct2(folder / "model.bin", {**(toy_variables() if variables is None else variables), **heads})
    usual = {"lang_ids": list(range(50259, 50358)), "alignment_heads": [[1, 1]]}
    (folder / "config.json").write_text(json.dumps({**usual, **configuration}))
    return folder
