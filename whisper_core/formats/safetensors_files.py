"""Where the tensors of a safetensors file lie, from its header alone.

The file: the header's length as uint64, little-endian; the header, a JSON object that gives each tensor its type, shape
and place; the tensors' bytes. https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from errors import UnusableModelError
from whisper_core.formats.brought_model import FLOATS, StoredTensor

MOST_HEADER_BYTES = 16 << 20  # that of large-v3 has 150 KB
MOST_DIMENSIONS = 8
_MOST_NUMBER = 1 << 63
_LENGTH_BYTES = 8
_METADATA = "__metadata__"


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of the file, by its name. Raises UnusableModelError."""
    try:
        with open(path, "rb") as file:
            file_bytes = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            data_start = _LENGTH_BYTES + length
            if not 0 < length <= MOST_HEADER_BYTES or data_start > file_bytes:
                raise UnusableModelError.because("damaged", f"{path.name} is no safetensors file, or not all of it")
            header = json.loads(file.read(length))
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{path.name} cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise UnusableModelError.because("damaged", f"{path.name} is no safetensors file") from error
    if not isinstance(header, dict):
        raise UnusableModelError.because("damaged", f"{path.name} is no safetensors file")
    return {
        name: _tensor(path, name, entry, data_start, file_bytes) for name, entry in header.items() if name != _METADATA
    }


def _tensor(path: Path, name: str, entry: Any, data_start: int, file_bytes: int) -> StoredTensor:
    try:
        kind, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableModelError.because("damaged", f"{path.name} is damaged at {name[:80]}") from error
    if kind not in FLOATS:
        raise UnusableModelError.because(
            "numbers", f"{name[:80]} is stored as {str(kind)[:20]}, and only F16, BF16 and F32 are read"
        )
    is_known = all(isinstance(number, int) and 0 <= number < _MOST_NUMBER for number in (*shape, start, end))
    if len(shape) > MOST_DIMENSIONS or not is_known:
        raise UnusableModelError.because("damaged", f"{path.name} is damaged at {name[:80]}")
    stored = StoredTensor(path, data_start + start, kind, shape)
    if end - start != stored.size_bytes:
        raise UnusableModelError.because("damaged", f"{path.name} is damaged at {name[:80]}")
    if data_start + end > file_bytes:
        raise UnusableModelError.because("damaged", f"{path.name} is cut off: not all of its weights are there")
    return stored
