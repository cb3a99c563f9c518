"""JSON that somebody else wrote: read whole, bounded, and with every fault as a reason that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from errors import UnusableModelError

MOST_BYTES = 16 << 20  # a tokenizer.json has 2 to 4 MB


def read_json(path: Path) -> Any:
    """Raises UnusableModelError."""
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise UnusableModelError.because("damaged", f"{path.name} is not JSON") from error


def read_lines(path: Path) -> list[str]:
    """Of a text, which is bounded likewise. Raises UnusableModelError."""
    try:
        return _read(path).decode().rstrip("\n").split("\n")
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
        is_short = isinstance(value, str | float | bool)  # a pickle's lists may be endless once written down
        told = repr(str(value)[:40]) if is_short else "a table or a list"
        raise UnusableModelError.because("damaged", f"{name} is {told} instead of a number")
    return value


def _read(path: Path) -> bytes:
    """Raises UnusableModelError; also for what has no end, such as a link to a device."""
    try:
        if path.exists() and not path.is_file():
            raise UnusableModelError.because("damaged", f"{path.name} is no file")
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{path.name} cannot be read") from error
    if len(data) > MOST_BYTES:
        raise UnusableModelError.because("damaged", f"{path.name} is larger than {MOST_BYTES >> 20} MB")
    return data
