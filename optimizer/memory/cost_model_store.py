"""All that was measured of tasks' memory, by device title, model and word timestamps, and its form in the database."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from optimizer.common.kinds import DeviceKind
from optimizer.memory.cost_model import CostModel, accuracy_of
from optimizer.memory.formula import CONTEXT_BYTES, costs_formula
from version import __version__
from whisper_core.models.catalogue import MODEL_NAMES

log = logging.getLogger(__name__)

PREFIX = "memory/"  # of the names of what is kept in Learned
_MOST_TITLE = 80  # characters of a device's title in such a name
_NONE_OF_OURS = (KeyError, TypeError, ValueError, OverflowError)  # what reading another document raises


class MemoryKey(NamedTuple):
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

    def __init__(self, calibration_factor: float) -> None:
        self._calibration_factor = calibration_factor
        self._titles: dict[str, tuple[DeviceKind, str]] = {}
        self._memories: dict[MemoryKey, CostModel] = {}
        self._unsaved: set[MemoryKey] = set()

    def know_device(self, name: str, kind: DeviceKind, title: str) -> None:
        self._titles[name] = (kind, title)

    def key(self, device: str, model: str, kind: DeviceKind, word_timestamps: bool) -> MemoryKey:
        """device: a name; one that is not known is taken for one of those of its kind that are."""
        _, title = self._titles.get(device, (kind, self._titles_of(kind)[0]))
        return MemoryKey(kind, title, model, word_timestamps)

    def to_change(self, key: MemoryKey) -> CostModel:
        """Made when it is wanted first; written down at the next save. Raises UnknownModelError."""
        if key not in self._memories:
            self._memories[key] = self._new(key)
        self._unsaved.add(key)
        return self._memories[key]

    def here(self, model: str, kind: DeviceKind, word_timestamps: bool) -> list[CostModel]:
        """What is known from devices that are here, not from those that another run had."""
        keys = (MemoryKey(kind, title, model, word_timestamps) for title in self._titles_of(kind))
        return [self._memories[key] for key in keys if key in self._memories]

    def relieve(self, factor: float) -> list[MemoryKey]:
        """Time went by; gives the keys whose promises fell."""
        eased = [key for key, memory in self._memories.items() if memory.relieve(factor)]
        self._unsaved.update(eased)
        return eased

    def accuracy(self) -> list[dict[str, Any]]:
        """See MemoryEstimationPool.accuracy."""
        rows: dict[tuple[str, str], list[CostModel]] = {}
        for key, memory in sorted(self._memories.items()):
            rows.setdefault((key.title, key.model), []).append(memory)
        return [{"device": title, "model": model, **accuracy_of(memories)} for (title, model), memories in rows.items()]

    def take_unsaved(self) -> dict[MemoryKey, dict[str, Any]]:
        """Documents of what changed since the last time, by key."""
        keys, self._unsaved = self._unsaved, set()
        return {key: {"version": __version__, **key._asdict(), **self._memories[key].to_json()} for key in keys}

    def put_back(self, keys: set[MemoryKey]) -> None:
        """They could not be written: they are to be taken again."""
        self._unsaved |= keys

    def restore(self, documents: dict[str, Any]) -> list[MemoryKey]:
        """Take up what earlier runs of this version learned; other code may need other memory."""
        restored = []
        for name, document in documents.items():
            try:
                if document["version"] != __version__:
                    continue
                key = _read_key(document)
                memory = self._new(key)
                memory.restore(document)
            except _NONE_OF_OURS:
                log.warning("event=memory_unreadable name=%s: it is measured anew", name)
                continue
            self._memories[key] = memory
            restored.append(key)
        return restored

    def _titles_of(self, kind: DeviceKind) -> list[str]:
        """The kind itself where no device is known."""
        return sorted({title for each, title in self._titles.values() if each == kind}) or [kind]

    def _new(self, key: MemoryKey) -> CostModel:
        prior = costs_formula(key.model, key.kind, word_timestamps=key.word_timestamps)
        return CostModel(prior, self._calibration_factor)


def _read_key(document: Any) -> MemoryKey:
    """Raises KeyError, TypeError or ValueError when it is none."""
    kind, title, model = document["kind"], document["title"], document["model"]
    if kind not in CONTEXT_BYTES or model not in MODEL_NAMES or not isinstance(title, str):
        raise ValueError(f"no device and model: {kind}, {title}, {model}")
    return MemoryKey(kind, title, model, bool(document["word_timestamps"]))
