"""A model's weights as files: where they may be, which are intact, and which were found damaged."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from errors import ModelUnavailableError, ShuttingDownError
from whisper_core.models.catalogue import ModelInfo, model_info

log = logging.getLogger(__name__)

WeightsFormat = Literal["pt", "ct2"]  # openai-whisper's own format, and CTranslate2's, which is never a pickle
HASHED_BYTES = 1 << 20


@dataclass(frozen=True)
class Weights:
    """A file that should contain a model's weights."""

    path: Path
    format: WeightsFormat
    sha256: str  # that the file should have
    damage_note: Path  # a file that says that this one has a wrong checksum


# (device, inode, size, mtime in ns) of the files that this process has verified.
_verified: set[tuple[int, int, int, int]] = set()
_verified_lock = threading.Lock()


def locate(name: str, models_dir: Path) -> Weights | None:
    """The file that a model would be loaded from: the first that exists and was not found damaged before; else None.

    Cheap: looks at names and dates and reads no weights. Raises UnknownModelError.
    """
    return next((weights for weights in candidates(model_info(name), models_dir) if may_be_intact(weights)), None)


def candidates(info: ModelInfo, models_dir: Path) -> Iterator[Weights]:
    """Every place, in order: MODELS_DIR, openai-whisper's own cache, and the file from the package index."""
    for file_name in dict.fromkeys((f"{info.weights_name}.pt", info.file_name)):
        yield Weights(models_dir / file_name, "pt", info.sha256, models_dir / f"{file_name}.damaged")
    cached = openai_whisper_cache() / info.file_name
    yield Weights(cached, "pt", info.sha256, models_dir / f"{info.file_name}.cached.damaged")
    if info.package_source is not None:
        yield package_weights(info, models_dir)


def official_weights(info: ModelInfo, models_dir: Path) -> Weights:
    """Where a download from the official address is stored."""
    return next(candidates(info, models_dir))


def package_weights(info: ModelInfo, models_dir: Path) -> Weights:
    """Where the weights from the package index are stored."""
    if info.package_source is None:
        raise ModelUnavailableError(f"No package holds the weights of {info.weights_name}.")
    path = models_dir / f"{info.weights_name}.ct2.bin"
    return Weights(path, "ct2", info.package_source.sha256, models_dir / f"{path.name}.damaged")


def openai_whisper_cache() -> Path:
    """The folder that `whisper.load_model` downloads into."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"


def unavailable_message(info: ModelInfo, reasons: tuple[str, ...] = (), *, is_damaged: bool = False) -> str:
    """Which file to put where. Without a path, because the reader may be in a browser. is_damaged: there is a file, but
    with a wrong checksum."""
    why = f" ({'; '.join(reasons)})" if reasons else ""
    what_to_do = f"Put {info.file_name} from {info.url} into MODELS_DIR."
    state = "damaged (wrong checksum)" if is_damaged else "not here"
    return f"The weights of {info.weights_name} are {state} and were not fetched{why}. {what_to_do}"


def is_intact(weights: Weights, should_stop: Callable[[], bool] = lambda: False) -> bool:
    """Whether the file has the right checksum. Each process reads a file once; a damaged one is not located again.

    Raises FileNotFoundError, and ShuttingDownError once should_stop() is true.
    """
    identity = _identity(weights.path)
    with _verified_lock:
        if identity in _verified:
            return True
    found = sha256_of(weights.path, should_stop)
    if found == weights.sha256:
        with _verified_lock:
            _verified.add(identity)
        return True
    log.warning("event=weights_damaged file=%s sha256=%s expected=%s", weights.path.name, found, weights.sha256)
    _note_damage(weights)
    return False


def sha256_of(path: Path, should_stop: Callable[[], bool] = lambda: False) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(HASHED_BYTES):
            if should_stop():
                raise ShuttingDownError()
            digest.update(data)
    return digest.hexdigest()


def _note_damage(weights: Weights) -> None:
    try:
        if not may_be_intact(weights):
            return  # noted before; whoever looks while it is written again would take the file for intact
        weights.damage_note.parent.mkdir(parents=True, exist_ok=True)
        weights.damage_note.write_text(_version_of(weights.path))
    except OSError:  # without the note, the file is read and refused once more
        log.warning("event=damage_not_noted file=%s", weights.path.name, exc_info=True)


def may_be_intact(weights: Weights) -> bool:
    """Whether the file is there and was not found damaged before. Looks at names and dates only."""
    if not weights.path.is_file():
        return False
    return not weights.damage_note.is_file() or weights.damage_note.read_text() != _version_of(weights.path)


def _version_of(path: Path) -> str:
    """Tells a file that replaced a damaged one from the damaged one."""
    status = path.stat()
    return f"{status.st_size} bytes, changed {status.st_mtime_ns}"


def _identity(path: Path) -> tuple[int, int, int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
