"""What a file of `torch.save` holds, without torch and without unpickling it.

The file is a zip archive: `<any name>/data.pkl` is a pickle of the saved object, and `<any name>/data/<key>` are the
bytes of its tensors. A pickle is a program, which names functions to be called. Here its instructions are followed one
by one and nothing is called: known are only those functions that make a tensor out of bytes, or an ordered dictionary,
and what they would make is made here. A pickle that names any other is refused.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import UnusableModelError
from whisper_core.formats.brought_model import BLOCKS, StoredTensor
from whisper_core.formats.dimensions import Shape
from whisper_core.formats.zip_files import SIGNATURE, ZipEntry, read_entry, zip_entries

# What a file makes its reader hold and compute has to be bounded: each byte of a pickle can be a dictionary, and a
# shape can have as many numbers as the pickle has room for.
MOST_PICKLE_BYTES = 2 << 20  # that of large-v3 has 150 KB
MOST_DIMENSIONS = 8
_MOST_ORDER_BYTES = 16
_MOST_NUMBER = 1 << 63
_MOST_KEY = 1 << 32  # larger ones can all have the same hash
_PICKLE, _BYTE_ORDER = "data.pkl", "byteorder"

_STORAGES = {
    "torch FloatStorage": "F32",
    "torch HalfStorage": "F16",
    "torch BFloat16Storage": "BF16",
    "torch DoubleStorage": "F64",
    "torch LongStorage": "I64",
    "torch IntStorage": "I32",
    "torch ShortStorage": "I16",
    "torch CharStorage": "I8",
    "torch ByteStorage": "U8",
    "torch BoolStorage": "BOOL",
}
_ORDERED, _TENSOR, _PARAMETER = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
_KNOWN = {*_STORAGES, _ORDERED, _TENSOR, _PARAMETER}


@dataclass(frozen=True)
class _Global:
    """A function or class that a pickle names."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """The bytes of one tensor, or of several."""

    entry: ZipEntry
    type: str
    count: int


class _DamagedError(Exception):
    """The pickle is none that torch writes."""


def read_torch_file(path: Path) -> Any:
    """The saved object, of dictionaries, lists, tuples, texts and numbers, with StoredTensors. Raises
    UnusableModelError."""
    entries = zip_entries(path)
    if entries is None:
        raise _no_archive(path)
    folder = next((name.removesuffix(_PICKLE) for name in entries if name.endswith(f"/{_PICKLE}")), None)
    if folder is None or entries[folder + _PICKLE].size > MOST_PICKLE_BYTES:
        raise UnusableModelError.because("damaged", f"{path.name} is no file of torch.save")
    order = entries.get(folder + _BYTE_ORDER)
    if order is not None and (order.size > _MOST_ORDER_BYTES or read_entry(path, order) != b"little"):
        raise UnusableModelError.because("damaged", f"{path.name} was saved on a machine with another order of bytes")
    program = read_entry(path, entries[folder + _PICKLE])
    tensors = {name.removeprefix(f"{folder}data/"): entry for name, entry in entries.items()}
    try:
        return _Pickle(path, tensors).follow(program)
    except (_DamagedError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise UnusableModelError.because(
            "damaged", f"{path.name} is damaged, or nothing that torch.save wrote"
        ) from error


def _no_archive(path: Path) -> UnusableModelError:
    if read_entry(path, ZipEntry(0, len(SIGNATURE))) == SIGNATURE:
        return UnusableModelError.because("damaged", f"{path.name} is cut off: not all of its weights are there")
    return UnusableModelError.because(
        "layout", f"{path.name} was not written by a current torch.save: save it again with PyTorch 1.6 or newer"
    )


class _Pickle:
    """A stack machine for the instructions of which torch.save makes use."""

    def __init__(self, path: Path, entries: dict[str, ZipEntry]) -> None:
        self._path = path
        self._entries = entries
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def follow(self, program: bytes) -> Any:
        for instruction, argument, _ in pickletools.genops(program):
            name = instruction.name
            if name == "STOP":
                return self._stack.pop()
            if name in _LITERALS:
                self._stack.append(argument)
            elif name in _MADE:
                self._stack.append(_MADE[name]())
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise _DamagedError(name)
        raise _DamagedError("no end")

    def mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def memoize(self, place: int | None) -> None:
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def recall(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def name(self, named: str | None) -> None:
        """named: module and name; None: they are on the stack."""
        if named is None:
            named = " ".join(_text(part) for part in self._taken(2))
        if named not in _KNOWN:
            raise UnusableModelError.because(
                "runs_code",
                f"{self._path.name} is a pickle that names {named.replace(' ', '.')[:80]}, and nothing from a file is "
                "ever run here: save only texts, numbers and tensors, such as a state_dict()",
            )
        self._stack.append(_Global(named))

    def tuple_of(self, count: int) -> None:
        self._stack.append(tuple(self._taken(count)))

    def tuple_from_mark(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def append(self, _: Any) -> None:
        value = self._stack.pop()
        _list(self._stack[-1]).append(value)

    def extend(self, _: Any) -> None:
        values = self._since_mark()
        _list(self._stack[-1]).extend(values)

    def set_item(self, _: Any) -> None:
        self._set_items(self._taken(2))

    def set_items(self, _: Any) -> None:
        self._set_items(self._since_mark())

    def build(self, _: Any) -> None:
        """The attributes of an ordered dictionary, such as the versions of a network's layers, are of no use here."""
        self._stack.pop()
        _dict(self._stack[-1])

    def storage(self, _: Any) -> None:
        kind, storage, key, _device, count = self._stack.pop()
        if kind != "storage":
            raise _DamagedError("a reference to something else than a tensor's bytes")
        self._stack.append(_Storage(self._entries[_text(key)], _STORAGES[storage.name], _number(count)))

    def call(self, _: Any) -> None:
        function, arguments = self._taken(2)
        if function.name == _TENSOR:
            self._stack.append(_tensor(self._path, *arguments[:4]))
        elif function.name == _PARAMETER:
            self._stack.append(arguments[0])
        elif function.name == _ORDERED and not arguments:
            self._stack.append({})
        else:
            raise _DamagedError(function.name)

    def _set_items(self, items: list[Any]) -> None:
        target = _dict(self._stack[-1])
        for key, value in zip(items[::2], items[1::2], strict=True):
            is_short = isinstance(key, int) and abs(key) < _MOST_KEY
            if not (isinstance(key, str) or is_short):  # another one's hash may be as deep as a file likes
                raise _DamagedError("a key")
            target[key] = value

    def _taken(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise _DamagedError("too little on the stack")
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken


def _tensor(path: Path, storage: Any, offset: Any, shape: Any, strides: Any) -> StoredTensor:
    if not isinstance(storage, _Storage):
        raise _DamagedError("a tensor without bytes")
    if not isinstance(shape, tuple) or len(shape) > MOST_DIMENSIONS:
        raise _DamagedError("a shape")
    sizes: Shape = tuple(_number(size) for size in shape)
    numbers, size = BLOCKS[storage.type]
    start = storage.entry.start + _number(offset) * size // numbers
    stored = StoredTensor(path, start, storage.type, sizes, is_in_order=_is_in_order(sizes, strides))
    if _number(offset) + math.prod(sizes) > storage.count or storage.count * size > storage.entry.size:
        raise _DamagedError("a tensor that is larger than its bytes")
    return stored


def _is_in_order(shape: Shape, strides: Any) -> bool:
    """Whether it lies row after row. The stride of a dimension of one does not matter."""
    wanted = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
    return all(size == 1 or stride == want for size, stride, want in zip(shape, strides, wanted, strict=True))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _DamagedError("not a list")
    return value


def _dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _DamagedError("not a dictionary")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _DamagedError("not a text")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < _MOST_NUMBER:
        raise _DamagedError("not a number")
    return value


_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES"),
    *("SHORT_BINBYTES", "BINSTRING", "SHORT_BINSTRING"),
}
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_STEPS: dict[str, Callable[[_Pickle, Any], None]] = {
    "MARK": _Pickle.mark,
    "BINPUT": _Pickle.memoize,
    "LONG_BINPUT": _Pickle.memoize,
    "MEMOIZE": _Pickle.memoize,
    "BINGET": _Pickle.recall,
    "LONG_BINGET": _Pickle.recall,
    "GLOBAL": _Pickle.name,
    "STACK_GLOBAL": _Pickle.name,
    "TUPLE": _Pickle.tuple_from_mark,
    "TUPLE1": lambda pickle, _: pickle.tuple_of(1),
    "TUPLE2": lambda pickle, _: pickle.tuple_of(2),
    "TUPLE3": lambda pickle, _: pickle.tuple_of(3),
    "APPEND": _Pickle.append,
    "APPENDS": _Pickle.extend,
    "SETITEM": _Pickle.set_item,
    "SETITEMS": _Pickle.set_items,
    "BUILD": _Pickle.build,
    "BINPERSID": _Pickle.storage,
    "REDUCE": _Pickle.call,
}
