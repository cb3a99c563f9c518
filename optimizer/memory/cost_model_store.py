"""Every cost model, by device title, model and word timestamps, and its form in the database."""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

from optimizer.common.kinds import DeviceKind
from optimizer.common.machine import processor
from optimizer.memory.cost_model import CostModel, accuracy_of
from optimizer.memory.engine_formula import Formula
from optimizer.memory.formula import CONTEXT_BYTES
from version import __version__
from whisper_core.models.registry import ModelRegistry

log = logging.getLogger(__name__)

PREFIX = "memory/"  # of the names under which the DocumentStore keeps them
_MOST_TITLE = 80  # characters of a device's title in such a name
_UNREADABLE = (KeyError, TypeError, ValueError, OverflowError)  # raised by reading a document that is not ours


class CostModelKey(NamedTuple):
    kind: DeviceKind
    title: str
    model: str
    word_timestamps: bool

    @property
    def name(self) -> str:
        words = "words" if self.word_timestamps else "plain"
        return f"{PREFIX}{self.kind}/{self.title[:_MOST_TITLE]}/{self.model}/{words}"


class CostModelStore:
    """Belongs to the MemoryEstimationPool, whose lock guards it."""

    def __init__(self, calibration_factor: float, models: ModelRegistry, formula: Formula) -> None:
        self._calibration_factor = calibration_factor
        self._models = models
        self._formula = formula
        self._titles: dict[str, tuple[DeviceKind, str]] = {}  # of the devices that are here, by name
        self._cost_models: dict[CostModelKey, CostModel] = {}
        self._unsaved: set[CostModelKey] = set()

    def add_device(self, name: str, kind: DeviceKind, title: str) -> None:
        self._titles[name] = (kind, title)

    def key(self, device: str, model: str, kind: DeviceKind, word_timestamps: bool) -> CostModelKey:
        """device: its name; an unknown one counts as the first known device of its kind."""
        _, title = self._titles.get(device, (kind, self._titles_of(kind)[0]))
        return CostModelKey(kind, title, model, word_timestamps)

    def get(self, key: CostModelKey) -> CostModel:
        """A new one, which is not kept, where there is none."""
        return self._cost_models.get(key) or self._new(key)

    def get_for_update(self, key: CostModelKey) -> CostModel:
        """Made when it is first asked for, and written at the next save."""
        if key not in self._cost_models:
            self._cost_models[key] = self._new(key)
        self._unsaved.add(key)
        return self._cost_models[key]

    def of_present_devices(self, model: str, kind: DeviceKind, word_timestamps: bool) -> list[CostModel]:
        """Not those of devices that only an earlier run had."""
        keys = (CostModelKey(kind, title, model, word_timestamps) for title in self._titles_of(kind))
        return [self._cost_models[key] for key in keys if key in self._cost_models]

    def forget(self, model: str) -> None:
        """What was saved of it before is not restored: see `_origin_of`."""
        self._cost_models = {key: cost_model for key, cost_model in self._cost_models.items() if key.model != model}
        self._unsaved = {key for key in self._unsaved if key.model != model}

    def relieve(self, factor: float) -> list[CostModelKey]:
        """Time went by; returns the keys whose pressure fell."""
        relieved = [key for key, cost_model in self._cost_models.items() if cost_model.relieve(factor)]
        self._unsaved.update(relieved)
        return relieved

    def accuracy(self) -> list[dict[str, Any]]:
        """See MemoryEstimationPool.accuracy."""
        rows: dict[tuple[str, str], list[CostModel]] = {}
        for key, cost_model in sorted(self._cost_models.items()):
            rows.setdefault((key.title, key.model), []).append(cost_model)
        return [{"device": title, "model": model, **accuracy_of(shown)} for (title, model), shown in rows.items()]

    def pop_unsaved(self) -> dict[CostModelKey, dict[str, Any]]:
        """Documents of what has changed since the last call."""
        keys, self._unsaved = self._unsaved, set()
        return {key: {**self._origin_of(key), **key._asdict(), **self._cost_models[key].to_json()} for key in keys}

    def mark_unsaved(self, keys: set[CostModelKey]) -> None:
        """They could not be written: `pop_unsaved` has to return them again."""
        self._unsaved |= keys

    def restore(self, documents: dict[str, Any]) -> list[CostModelKey]:
        """Restores what earlier runs learned, but nothing of another origin, which may need different amounts."""
        restored = []
        for name, document in documents.items():
            try:
                key = self._read_key(document)
                if any(document.get(name) != value for name, value in self._origin_of(key).items()):
                    continue
                cost_model = self._new(key)
                cost_model.restore(document)
            except _UNREADABLE:
                log.warning("event=memory_unreadable name=%s: it is measured again", name)
                continue
            self._cost_models[key] = cost_model
            restored.append(key)
        return restored

    def _read_key(self, document: Any) -> CostModelKey:
        """Raises KeyError, TypeError or ValueError when there is none."""
        kind, title, model = document["kind"], document["title"], document["model"]
        if kind not in CONTEXT_BYTES or self._models.find(model) is None or not isinstance(title, str):
            raise ValueError(f"not a device and a model: {kind}, {title}, {model}")
        return CostModelKey(kind, title, model, bool(document["word_timestamps"]))

    def _origin_of(self, key: CostModelKey) -> dict[str, str]:
        """Of a model that somebody brought, also which files it had."""
        identity = self._models.known(key.model).identity
        return {**_origin(key.kind), "identity": identity} if identity else _origin(key.kind)

    def _titles_of(self, kind: DeviceKind) -> list[str]:
        """The kind itself where no device is known."""
        return sorted({title for each, title in self._titles.values() if each == kind}) or [kind]

    def _new(self, key: CostModelKey) -> CostModel:
        prior = self._formula.costs(self._models.known(key.model), key.kind, word_timestamps=key.word_timestamps)
        return CostModel(prior, self._calibration_factor)


@cache
def _origin(kind: DeviceKind) -> dict[str, str]:
    """What measurements hold for, besides their key. A CPU's title names no processor, and libraries take other
    workspaces on another one; on a card, what tasks take depends on what their models hold."""
    origin = {"version": __version__, "torch": version("torch")}
    return origin | ({"processor": processor()} if kind == "cpu" else {"held": "slots"})
