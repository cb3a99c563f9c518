"""JSON that somebody else wrote: read whole, bounded, and with every fault as a reason that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from errors import UnusableModelError

MOST_BYTES = 64 << 20  # a tokenizer.json has 2 to 4 MB


def read_json(path: Path) -> Any:
    """Raises UnusableModelError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UnusableModelError.because("damaged", f"{path.name} is larger than {MOST_BYTES >> 20} MB")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{path.name} cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise UnusableModelError.because("damaged", f"{path.name} is not JSON") from error


def read_lines(path: Path) -> list[str]:
    """Of a text, which is bounded likewise. Raises UnusableModelError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UnusableModelError.because("damaged", f"{path.name} is larger than {MOST_BYTES >> 20} MB")
        return path.read_bytes().decode().rstrip("\n").split("\n")
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{path.name} cannot be read") from error
    except UnicodeDecodeError as error:
        raise UnusableModelError.because("damaged", f"{path.name} is not UTF-8") from error


def read_object(path: Path) -> dict[str, Any]:
    """Raises UnusableModelError unless the file holds an object."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise UnusableModelError.because("damaged", f"{path.name} holds no object")
    return found


def read_object_if_there(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def number_in(found: dict[str, Any], name: str) -> int | None:
    """A whole number of an object; None when it is not told. Raises UnusableModelError for anything else."""
    value = found.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnusableModelError.because("damaged", f"{name} is {str(value)[:40]!r} instead of a number")
    return value
