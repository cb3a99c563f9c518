"""The edits that there are, a class for each. `apply` says what each makes of a transcript.

An edit that makes segments has `first_id`, the id of the first of them; the others follow it. It is given when the edit
is made (see `steps`): an id is never used twice, not even for the segment of an edit that was undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Union

from errors import BadRecordError
from whisper_core.text.transcript import Segment


@dataclass(frozen=True)
class SetText:
    segment: int
    text: str


@dataclass(frozen=True)
class SetTimes:
    segment: int
    start: float  # seconds from the start of the recording, as everywhere
    end: float


@dataclass(frozen=True)
class Split:
    """The text from `at_char` on becomes a segment of its own, behind this one."""

    segment: int
    at_char: int  # of the segment's text as it is stored, in code points
    first_id: int = 0


@dataclass(frozen=True)
class Merge:
    """Neighbours, in order, become the first of them."""

    segments: tuple[int, ...]


@dataclass(frozen=True)
class Delete:
    segments: tuple[int, ...]


@dataclass(frozen=True)
class Insert:
    after: int | None  # None: before all
    start: float
    end: float
    text: str
    first_id: int = 0


@dataclass(frozen=True)
class Shift:
    """All times. None leaves the recording, so what would is cut short there."""

    seconds: float


@dataclass(frozen=True)
class Replace:
    find: str
    replace: str
    segments: tuple[int, ...] | None = None  # None: all
    case: bool = False  # whether capitals matter
    whole_words: bool = False


@dataclass(frozen=True)
class SetSpeaker:
    segments: tuple[int, ...]
    speaker: str | None  # None: nobody knows


@dataclass(frozen=True)
class NameSpeaker:
    speaker: str
    name: str | None


@dataclass(frozen=True)
class MergeSpeakers:
    """Both are one person."""

    from_: str
    into: str


@dataclass(frozen=True)
class Assigned:
    """From this character of a segment on, somebody speaks."""

    segment: int
    at_char: int
    speaker: str | None


@dataclass(frozen=True)
class Diarize:
    """Who speaks, as it was found. A segment in which several people speak is split where they change.

    What was found is kept as cuts, and not as times of turns: a later version may assign words by other rules, and must
    not change a text that people have worked on since.
    """

    assigned: tuple[Assigned, ...]  # in the order of the text
    speakers: tuple[str, ...]
    first_id: int = 0


@dataclass(frozen=True)
class Retranscribe:
    """Chosen segments, done again by another model."""

    segments: tuple[int, ...]
    with_: tuple[Segment, ...]  # in their place; whatever their ids are, they get new ones
    model: str
    first_id: int = 0


Edit = Union[
    SetText,
    SetTimes,
    Split,
    Merge,
    Delete,
    Insert,
    Shift,
    Replace,
    SetSpeaker,
    NameSpeaker,
    MergeSpeakers,
    Diarize,
    Retranscribe,
]
KINDS: Mapping[str, type[Edit]] = {
    "set_text": SetText,
    "set_times": SetTimes,
    "split": Split,
    "merge": Merge,
    "delete": Delete,
    "insert": Insert,
    "shift": Shift,
    "replace": Replace,
    "set_speaker": SetSpeaker,
    "name_speaker": NameSpeaker,
    "merge_speakers": MergeSpeakers,
    "diarize": Diarize,
    "retranscribe": Retranscribe,
}
_KIND_OF: Mapping[type[Edit], str] = {edit: kind for kind, edit in KINDS.items()}


def edit_to_dict(edit: Edit) -> dict[str, Any]:
    """With its kind, as JSON has it."""
    values = {field.name.rstrip("_"): _to_plain(getattr(edit, field.name)) for field in fields(edit)}
    return {"kind": _KIND_OF[type(edit)], **values}


def edit_from_dict(given: Mapping[str, Any]) -> Edit:
    """The way back. Raises BadRecordError."""
    try:
        kind = KINDS[given["kind"]]
        names = {field.name.rstrip("_"): field.name for field in fields(kind)}
        return kind(**{names[name]: _from_plain(name, value) for name, value in given.items() if name != "kind"})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecordError() from error


def _to_plain(value: Any) -> Any:
    match value:
        case tuple():
            return [_to_plain(each) for each in value]
        case Segment():
            return value.to_dict()
        case Assigned():
            return [value.segment, value.at_char, value.speaker]
    return value


def _from_plain(name: str, value: Any) -> Any:
    match name, value:
        case "with", list():
            return tuple(Segment.from_dict(each) for each in value)
        case "assigned", list():
            return tuple(Assigned(*each) for each in value)
        case _, list():
            return tuple(value)
    return value
