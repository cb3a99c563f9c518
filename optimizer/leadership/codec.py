"""Values as JSON and bytes, and back: what a system's methods take and answer, and nothing that could run.

Of classes there are this project's dataclasses, enums and errors. They are named by module, and made without calling
anything of theirs. Several objects of one class are rows of a table, which names class and fields once: the transcript
of a long recording has hundreds of thousands of words.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Collection, Iterable, KeysView, Mapping, ValuesView
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from errors import TranscriptionServerError

PACKAGES = ("errors", "optimizer", "whisper_core")  # of classes that may be named
_PLAIN = frozenset((str, int, float, bool, type(None)))
_NESTED = frozenset((list, dict))


def encode(value: Any) -> tuple[bytes, list[bytes]]:
    """The value as JSON, and the bytes in it, in their order. Raises TypeError for what cannot be sent."""
    blobs: list[bytes] = []
    return json.dumps(_plain(value, blobs), separators=(",", ":")).encode(), blobs


def decode(text: bytes, blobs: list[bytes]) -> Any:
    """Raises ValueError, TypeError, LookupError or ImportError for what `encode` has not made."""
    return _value(json.loads(text), blobs)


def _plain(value: Any, blobs: list[bytes]) -> Any:
    """Objects have one key, which says what they stand for. All else is as in JSON."""
    if type(value) in _PLAIN:
        return value
    match value:
        case Enum():
            return {"enum": [_name_of(type(value)), value.name]}
        case bytes():
            blobs.append(value)
            return {"bytes": len(blobs) - 1}
        case type():
            return {"class": _name_of(value)}
        case Path():
            return {"path": str(value)}
        case datetime():
            return {"time": value.isoformat()}
        case timedelta():
            return {"seconds": value.total_seconds()}
        case Mapping():
            return {"dict": [[_plain(key, blobs), _plain(item, blobs)] for key, item in value.items()]}
        case set() | frozenset():
            return {"set": [_plain(item, blobs) for item in value]}
        case tuple() if type(value) is tuple:
            return {"tuple": _plain_items(value, blobs)}
        case list() | KeysView() | ValuesView():
            return _plain_items(value, blobs)
    kind: Any = type(value)
    fields = {name: _plain(getattr(value, name), blobs) for name in _field_names(kind)}
    return {"object": [_name_of(kind), fields]}


def _plain_items(items: Collection[Any], blobs: list[bytes]) -> list[Any] | dict[str, Any]:
    kinds: set[Any] = set(map(type, items))
    if len(items) > 1 and len(kinds) == 1 and all(map(dataclasses.is_dataclass, kinds)):
        kind = kinds.pop()
        names = _field_names(kind)
        rows = [_plain_each([getattr(item, name) for name in names], blobs) for item in items]
        return {"rows": [_name_of(kind), names, rows]}
    return _plain_each(items, blobs)


def _plain_each(items: Iterable[Any], blobs: list[bytes]) -> list[Any]:
    return [item if type(item) in _PLAIN else _plain(item, blobs) for item in items]


def _value(plain: Any, blobs: list[bytes]) -> Any:
    if isinstance(plain, list):
        return _each_value(plain, blobs)
    if not isinstance(plain, dict):
        return plain
    ((kind, content),) = plain.items()
    match kind:
        case "bytes":
            return blobs[content]
        case "dict":
            return {_value(key, blobs): _value(item, blobs) for key, item in content}
        case "set":
            return {_value(item, blobs) for item in content}
        case "tuple":
            return tuple(_value(content, blobs))
        case "rows":
            name, names, rows = content
            return _made_rows(_class_named(name), names, rows, blobs)
        case "object":
            name, fields = content
            return _made(_class_named(name), {key: _value(item, blobs) for key, item in fields.items()})
    return _READERS[kind](content)


def _each_value(items: list[Any], blobs: list[bytes]) -> list[Any]:
    return [_value(item, blobs) if type(item) in _NESTED else item for item in items]


def _made(kind: type, fields: dict[str, Any]) -> Any:
    """Without `__init__`, which may do something. Raises TypeError for what is no dataclass."""
    made: Any = object.__new__(kind)
    for name in _field_names(kind):
        object.__setattr__(made, name, fields[name])
    return made


def _made_rows(kind: type, names: list[str], rows: list[list[Any]], blobs: list[bytes]) -> list[Any]:
    """As `_made`. Raises ValueError when a row or the names are not the class's fields."""
    if tuple(names) != _field_names(kind):
        raise ValueError(f"{kind.__name__} has other fields")
    return [_made(kind, dict(zip(names, _each_value(row, blobs), strict=True))) for row in rows]


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    """Raises TypeError for what is no dataclass."""
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind.__name__} cannot be sent")
    return tuple(field.name for field in dataclasses.fields(kind))


def _enum(content: list[str]) -> Enum:
    kind = _class_named(content[0])
    if not issubclass(kind, Enum):
        raise TypeError(f"{content[0]} is no enum")
    return kind[content[1]]


def _error_class(name: str) -> type[TranscriptionServerError]:
    kind = _class_named(name)
    if not issubclass(kind, TranscriptionServerError):
        raise TypeError(f"{name} is no error")
    return kind


_READERS: dict[str, Callable[[Any], Any]] = {
    "enum": _enum,
    "class": _error_class,
    "path": Path,
    "time": datetime.fromisoformat,
    "seconds": lambda seconds: timedelta(seconds=seconds),
}


def _name_of(kind: type) -> str:
    if kind.__module__.partition(".")[0] not in PACKAGES or "." in kind.__qualname__:
        raise TypeError(f"{kind.__qualname__} of {kind.__module__} cannot be sent")
    return f"{kind.__module__}:{kind.__qualname__}"


def _class_named(name: str) -> type:
    """Importing a module of ours defines names and does nothing else."""
    module, _, kind = name.partition(":")
    if module.partition(".")[0] not in PACKAGES:
        raise TypeError(f"{name} is not ours")
    found = vars(importlib.import_module(module))[kind]
    if not isinstance(found, type):
        raise TypeError(f"{name} is no class")
    return found
