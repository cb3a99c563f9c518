"""The models that one server knows: openai-whisper's, and those that people brought to its MODELS_DIR.

Whoever has to look a model up by its name is given the server's registry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from errors import ModelFault, UnknownModelError
from whisper_core.models.brought import GONE, BroughtFiles, BroughtModels
from whisper_core.models.catalogue import (
    ALIASES,
    MODEL_CHOICES,
    MODELS,
    ModelInfo,
    model_info,
    precision_of,
    weights_name_of,
    with_int8,
)

_STAND_IN = "large-v3"


@dataclass(frozen=True)
class BrokenModel:
    """A folder or file in MODELS_DIR that cannot be used."""

    name: str
    fault: ModelFault
    reason: str  # a sentence


class ModelRegistry:
    """Any thread. Imports no torch."""

    def __init__(self, models_dir: Path | None = None) -> None:
        """models_dir: where people bring models; without one there are openai-whisper's only."""
        self._brought = None if models_dir is None else BroughtModels(models_dir)
        self._lock = threading.Lock()
        self._known: dict[str, ModelInfo] = {}  # everything that was ever seen, with the identity it last had
        self._has_looked = False
        self._listeners: list[Callable[[str], None]] = []

    def add_listener(self, on_changed: Callable[[str], None]) -> None:
        """Call it with the name of every model whose files are others than they were: nothing learned of it holds."""
        self._listeners.append(on_changed)

    # --- as it is now ------------------------------------------------------------------------------------------

    def info(self, name: str) -> ModelInfo:
        """The model with that name or alias. Raises UnknownModelError, also when its files are gone or unusable."""
        if _is_published(name) or self._brought is None:
            return model_info(name)
        info = self._look().get(name)
        if info is None:
            raise UnknownModelError(self._why_unknown(name), field="model")
        return info

    def find(self, name: str) -> ModelInfo | None:
        """The same; None for a name that no model has."""
        try:
            return self.info(name)
        except UnknownModelError:
            return None

    def models(self) -> tuple[ModelInfo, ...]:
        """Every model that can be asked for: openai-whisper's, smallest first, then those that were brought."""
        return (*MODELS.values(), *self._look().values())

    def broken_models(self) -> list[BrokenModel]:
        return [
            BrokenModel(name, files.fault, _sentence(files.reason))
            for name, files in self._brought_files().items()
            if files.reason
        ]

    def problem(self, name: str) -> str | None:
        """Why a model that is not openai-whisper's cannot be used now, as a sentence."""
        if _is_published(name) or name in self._look():
            return None
        files = self._brought_files().get(weights_name_of(name))
        return GONE if files is None or files.reason is None else _sentence(files.reason)

    # --- for plans ---------------------------------------------------------------------------------------------

    def last_known(self, name: str) -> ModelInfo | None:
        """The model as it was last seen, which may be gone. Reads nothing after the first call."""
        if _is_published(name):
            return model_info(name)
        if not self._has_looked:
            self._look()
        return self._known.get(name)

    def known(self, name: str) -> ModelInfo:
        """The same; for a task whose model no longer exists, the largest there is: its time and memory are asked for
        although it will not run. Raises UnknownModelError where no models can be brought."""
        found = model_info(name) if self._brought is None else self.last_known(name)
        if found is not None:
            return found
        return replace(MODELS[_STAND_IN], name=name, precision=precision_of(name), identity="gone", sha256="")

    # --- inside ------------------------------------------------------------------------------------------------

    def _brought_files(self) -> dict[str, BroughtFiles]:
        return {} if self._brought is None else dict(self._brought.look())

    def _look(self) -> dict[str, ModelInfo]:
        found = {info.name: info for files in self._brought_files().values() for info in _infos_of(files)}
        with self._lock:
            known, self._has_looked = self._known, True
            changed = [name for name, info in found.items() if name in known and known[name].identity != info.identity]
            self._known = {**known, **found}
        for name in changed:
            for listener in self._listeners:
                listener(name)
        return found

    def _why_unknown(self, name: str) -> str:
        files = self._brought_files().get(weights_name_of(name))
        if files is not None and files.reason is not None:
            return f"The model {weights_name_of(name)} cannot be used: {files.reason}."
        brought = "".join(f", {info.name}" for info in self._look().values() if info.precision == "default")
        also = f" Also here:{brought[1:]}." if brought else ""
        return f"There is no model of that name. Choose {MODEL_CHOICES}.{also}"


def _is_published(name: str) -> bool:
    return ALIASES.get(name, name) in MODELS


def _infos_of(files: BroughtFiles) -> tuple[ModelInfo, ...]:
    if files.model is None:
        return ()
    model = files.model
    return with_int8(ModelInfo(files.name, model.dimensions, "", model.size_bytes, identity=files.identity))


def _sentence(reason: str) -> str:
    return f"It cannot be used: {reason}."
