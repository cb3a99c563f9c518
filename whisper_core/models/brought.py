"""The models that people bring: folders and files in MODELS_DIR, each of which is a model by its name.

Looking at them reads names, sizes and dates; headers and tables are read anew only where these have changed.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from errors import ModelFault, UnknownModelError, UnusableModelError
from whisper_core.formats.brought_model import BroughtModel
from whisper_core.models.brought_formats import file_names, is_meant, name_of, read_model
from whisper_core.models.catalogue import ALIASES, INT8_SUFFIX, MODELS

log = logging.getLogger(__name__)

GONE = "The model's files are not in MODELS_DIR. Put them there, or choose another model."
_NAME = re.compile(r"\w[\w.+@-]{0,79}")
_DIGEST_CHARACTERS = 16


@dataclass(frozen=True)
class BroughtFiles:
    """A folder or a file that is meant to be a model. Either `model` is set or `reason`."""

    name: str
    identity: str  # changes with any of its files
    model: BroughtModel | None = None
    reason: str | None = None  # why it cannot be used, as a part of a sentence
    fault: ModelFault = "damaged"  # of what kind that is


class BroughtModels:
    """Any thread. Imports no torch."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self._lock = threading.Lock()
        self._known: Mapping[str, BroughtFiles] = {}

    def look(self) -> Mapping[str, BroughtFiles]:
        """What is there now, by name."""
        with self._lock:
            found = {}
            for name, path in _meant_in(self._models_dir).items():
                identity, known = _identity(path), self._known.get(name)
                same = known is not None and known.identity == identity
                found[name] = known if known is not None and same else _read(name, path, identity)
            self._known = found
            return found


def read_brought(name: str, models_dir: Path) -> BroughtModel:
    """The model of that name as its files are now. Raises UnknownModelError, UnusableModelError."""
    path = _meant_in(models_dir).get(name)
    if path is None:
        raise UnknownModelError(GONE, field="model")
    return _read_checked(name, path)


def _read(name: str, path: Path, identity: str) -> BroughtFiles:
    try:
        model = _read_checked(name, path)
    except UnusableModelError as error:
        log.warning("event=brought_model_unusable name=%r reason=%r", name, error.reason)
        return BroughtFiles(name, identity, reason=error.reason, fault=error.fault)
    except Exception:  # whatever a file can do to its reader, it concerns this model alone
        log.exception("event=brought_model_unusable name=%r", name)
        return BroughtFiles(name, identity, reason="its files are damaged; the log has the details")
    log.info("event=brought_model name=%s identity=%s", name, identity)
    return BroughtFiles(name, identity, model)


def _read_checked(name: str, path: Path) -> BroughtModel:
    """Raises UnusableModelError."""
    rename = f"rename the {'folder' if path.is_dir() else 'file'}"
    if name != name_of(path):
        raise UnusableModelError.because("name", f"there is another model of the name {name_of(path)}: {rename}")
    if not _NAME.fullmatch(name):
        raise UnusableModelError.because(
            "name", f"a model's name may have at most 80 letters, digits and the signs . _ + @ -: {rename}"
        )
    if name in MODELS or name in ALIASES:
        raise UnusableModelError.because("name", f"openai-whisper has a model of that name: {rename}")
    if name.endswith(INT8_SUFFIX):
        raise UnusableModelError.because("name", f"names that end in {INT8_SUFFIX} are taken: {rename}")
    return read_model(path)


def _meant_in(models_dir: Path) -> dict[str, Path]:
    """The folders and files that are meant to be models, by name: folders before files, each in order.

    One whose name is taken by another has its file's whole name, and is refused for it.
    """
    try:
        paths = sorted(models_dir.iterdir(), key=lambda path: (not path.is_dir(), path.name))
    except OSError:
        return {}
    found: dict[str, Path] = {}
    for path in paths:
        if is_meant(path):
            name = name_of(path)
            found[path.name if name in found else name] = path
    return dict(sorted(found.items()))


def _identity(path: Path) -> str:
    """Of the names, sizes and dates of its files."""
    digest = hashlib.sha256()
    for name in sorted(file_names(path)) or [""]:
        try:
            status = (path / name).stat()
        except OSError:
            continue
        digest.update(f"{name!r} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:_DIGEST_CHARACTERS]
