"""Events as text, for PostgreSQL's NOTIFY."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from optimizer.leadership.calls import KEPT_EVENT
from optimizer.tasks.events import (
    Event,
    EventsMissed,
    SystemChanged,
    TaskChanged,
    TaskDeleted,
    TranscriptEdited,
    WindowFinished,
)
from whisper_core.text.transcript import Segment

CHANNEL = "whisper_events"  # of the database; each database has its own
MAX_BYTES = 7999  # of a notification
TICK_EVERY_S = 2.0  # while nothing else is told
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (EventsMissed, SystemChanged, TaskChanged, TaskDeleted, TranscriptEdited)
}


_TICK = "tick"


@dataclass(frozen=True)
class Tick:
    """Nothing happened, and whoever hears this would have heard of it."""


@dataclass(frozen=True)
class Told:
    """What a notification says. number: counts up by one; from another origin it counts anew."""

    origin: str
    number: int
    event: Event | Tick | None  # None: it was too large, and the origin keeps it


def to_text(told: Told) -> str:
    """In ASCII. It may be longer than MAX_BYTES."""
    head = {"o": told.origin, "n": told.number}
    if told.event is None:
        return json.dumps({**head, "k": KEPT_EVENT})
    if isinstance(told.event, Tick):
        return json.dumps({**head, "k": _TICK})
    fields = dict(vars(told.event))
    if isinstance(told.event, WindowFinished):
        fields["segments"] = [segment.to_dict() for segment in told.event.segments]
    return json.dumps({**head, "k": type(told.event).__name__, **fields}, separators=(",", ":"))


def from_text(text: str) -> Told:
    """Raises ValueError, KeyError or TypeError for what `to_text` has not written."""
    fields = json.loads(text)
    origin, number, kind = fields.pop("o"), fields.pop("n"), fields.pop("k")
    if kind == KEPT_EVENT:
        return Told(origin, number, None)
    if kind == _TICK:
        return Told(origin, number, Tick())
    if kind == WindowFinished.__name__:
        fields["segments"] = tuple(Segment.from_dict(each) for each in fields["segments"])
        return Told(origin, number, WindowFinished(**fields))
    return Told(origin, number, _KINDS[kind](**fields))
