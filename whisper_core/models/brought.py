"""The models that people bring: folders in MODELS_DIR, each of which is a model by the folder's name.

Looking at them reads names, sizes and dates; headers and tables are read anew only where these have changed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from errors import UnknownModelError, UnusableModelError
from whisper_core.formats.brought_model import BroughtModel
from whisper_core.formats.ctranslate2 import is_ctranslate2, read_ctranslate2
from whisper_core.formats.hugging_face import is_hugging_face, read_hugging_face
from whisper_core.models.catalogue import ALIASES, INT8_SUFFIX, MODELS

log = logging.getLogger(__name__)

GONE = "The model's files are not in MODELS_DIR. Put them there, or choose another model."
_NAME = re.compile(r"\w[\w.+@-]{0,79}")
_DIGEST_CHARACTERS = 16


@dataclass(frozen=True)
class BroughtFolder:
    """A folder that is meant to be a model. Either `model` is set or `reason`."""

    name: str
    identity: str  # changes with any of its files
    model: BroughtModel | None = None
    reason: str | None = None  # why it cannot be used, as a part of a sentence


class BroughtModels:
    """Any thread. Imports no torch."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self._lock = threading.Lock()
        self._folders: Mapping[str, BroughtFolder] = {}

    def look(self) -> Mapping[str, BroughtFolder]:
        """What is there now, by name."""
        with self._lock:
            found = {}
            for name, identity in _identities(self._models_dir).items():
                known = self._folders.get(name)
                same = known is not None and known.identity == identity
                found[name] = known if known is not None and same else _read(self._models_dir / name, identity)
            self._folders = found
            return found


def read_brought(name: str, models_dir: Path) -> BroughtModel:
    """The model of that name as its files are now. Raises UnknownModelError, UnusableModelError."""
    folder = models_dir / name
    names = _file_names(folder) if _NAME.fullmatch(name) else set()
    if not _is_meant(names):
        raise UnknownModelError(GONE, field="model")
    return _read_checked(folder)


def _read(folder: Path, identity: str) -> BroughtFolder:
    try:
        model = _read_checked(folder)
    except UnusableModelError as error:
        log.warning("event=brought_model_unusable name=%r reason=%r", folder.name, error.reason)
        return BroughtFolder(folder.name, identity, reason=error.reason)
    except Exception:  # whatever a file can do to its reader, it concerns this model alone
        log.exception("event=brought_model_unusable name=%r", folder.name)
        return BroughtFolder(folder.name, identity, reason="its files are damaged; the log has the details")
    log.info("event=brought_model name=%s identity=%s", folder.name, identity)
    return BroughtFolder(folder.name, identity, model)


def _read_checked(folder: Path) -> BroughtModel:
    """Raises UnusableModelError."""
    name = folder.name
    if not _NAME.fullmatch(name):
        raise UnusableModelError.because(
            "a model's name may have at most 80 letters, digits and the signs . _ + @ -: rename the folder"
        )
    if name in MODELS or name in ALIASES:
        raise UnusableModelError.because("openai-whisper has a model of that name: rename the folder")
    if name.endswith(INT8_SUFFIX):
        raise UnusableModelError.because(f"names that end in {INT8_SUFFIX} are taken: rename the folder")
    is_converted = is_ctranslate2(_file_names(folder)) and not is_hugging_face(_file_names(folder))
    return read_ctranslate2(folder) if is_converted else read_hugging_face(folder)


def _is_meant(names: set[str]) -> bool:
    return is_hugging_face(names) or is_ctranslate2(names)


def _identities(models_dir: Path) -> dict[str, str]:
    """Of the folders that are meant to be models, by name, in the order of names."""
    try:
        names = sorted(os.listdir(models_dir))
    except OSError:
        return {}
    found = {}
    for name in names:
        if not name.startswith(".") and _is_meant(_file_names(models_dir / name)):
            found[name] = _identity(models_dir / name)
    return found


def _file_names(folder: Path) -> set[str]:
    """Empty unless it is a folder that can be read."""
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _identity(folder: Path) -> str:
    """Of the names, sizes and dates of its files."""
    digest = hashlib.sha256()
    for name in sorted(_file_names(folder)):
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        digest.update(f"{name!r} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:_DIGEST_CHARACTERS]
