"""The sound tracks of a file, and which of them a task means.

Read from what ffmpeg says of the file, whose words for languages and titles are the file's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from errors import TrackNotFoundError
from whisper_core.text.languages import language_code

MAX_TRACKS = 64
MAX_TITLE_CHARACTERS = 200

_STREAM = re.compile(
    r"^\[info\]\s+Stream #0:(?P<stream>\d+)(?:\[\w+\])?(?:\((?P<language>[^)\n]*)\))?: (?P<kind>\w+): (?P<rest>.*)$"
)
_TITLE = re.compile(r"^\[info\]\s+title\s*: (.*)$", re.IGNORECASE)
_TAKEN = re.compile(r"^\[info\]   Stream #0:(\d+)(?:\[\w+\])?(?:\([^)\n]*\))? -> ", re.MULTILINE)
_GRAPH_INPUT = "Stream mapping:"
_CODEC = re.compile(r"\w{1,40}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_LAYOUT = re.compile(r" Hz, (?:(?P<count>\d+) channels|(?P<name>[a-z]+)|(?P<parts>\d+(?:\.\d+)+))")
_LAYOUTS = {
    "mono": 1,
    "stereo": 2,
    "downmix": 2,
    "binaural": 2,
    "quad": 4,
    "hexagonal": 6,
    "octagonal": 8,
    "cube": 8,
    "hexadecagonal": 16,
}


@dataclass(frozen=True)
class SoundTrack:
    """index: from 1, among the sound tracks. stream: among all streams of the file, from 0, as ffmpeg counts them.

    language: as the file spells it, such as `ger`, `eng` or `en-US`. is_default: whether players take it.
    is_chosen: whether it is the one that is transcribed.
    """

    index: int
    stream: int
    codec: str
    channels: int | None = None
    language: str | None = None
    title: str | None = None
    is_default: bool = False
    is_chosen: bool = False

    def is_in(self, language: str) -> bool:
        """language: as `track_name` writes it."""
        return self.language is not None and track_name(self.language) == language


def track_name(text: str) -> str | None:
    """How a task names a track, in one spelling: its number, Whisper's code of its language, or another tag of a
    language in lower case. None when `text` is none of these."""
    word = text.strip()
    if word.isascii() and word.isdigit():
        return str(int(word)) if 1 <= int(word) <= MAX_TRACKS else None
    return language_code(word) or (word.lower().replace("_", "-") if _LANGUAGE.fullmatch(word) else None)


def sound_tracks(messages: str) -> tuple[SoundTrack, ...]:
    """Those of the file that ffmpeg read, in the file's order. messages: what it said."""
    described, _, mapping = messages.partition(_GRAPH_INPUT)
    taken = _TAKEN.search(mapping)
    found: dict[int, SoundTrack] = {}  # a stream that is in two programs is told of twice
    for track in _described(described.splitlines()):
        found.setdefault(track.stream, track)
    tracks = sorted(found.values(), key=lambda track: track.stream)[:MAX_TRACKS]
    return tuple(
        replace(track, index=index, is_chosen=taken is not None and track.stream == int(taken[1]))
        for index, track in enumerate(tracks, 1)
    )


def _described(lines: Iterable[str]) -> Iterator[SoundTrack]:
    track: SoundTrack | None = None
    for line in lines:
        if stream := _STREAM.match(line):
            if track is not None:
                yield track
            track = _track_of(stream) if stream["kind"] == "Audio" else None
        elif track is not None and (title := _TITLE.match(line)):
            track = replace(track, title=_printable(title[1]))
    if track is not None:
        yield track


def _track_of(stream: re.Match[str]) -> SoundTrack:
    rest, language = stream["rest"], (stream["language"] or "").partition(",")[0]
    codec = _CODEC.match(rest)
    return SoundTrack(
        index=0,
        stream=int(stream["stream"]),
        codec=codec[0] if codec else "unknown",
        channels=_channels(rest),
        language=language if _LANGUAGE.fullmatch(language) else None,
        is_default="(default)" in rest,
    )


def _channels(description: str) -> int | None:
    """5.1 is six; None where ffmpeg does not say."""
    layout = _LAYOUT.search(description)
    if layout is None:
        return None
    if layout["count"]:
        return int(layout["count"])
    if layout["parts"]:
        return sum(map(int, layout["parts"].split(".")))
    return _LAYOUTS.get(layout["name"])


def _printable(title: str) -> str | None:
    return "".join(char for char in title if char.isprintable()).strip()[:MAX_TITLE_CHARACTERS] or None


def choose_track(tracks: Sequence[SoundTrack], name: str) -> SoundTrack:
    """The one of this number; or in this language: the default one of several, else the first.

    name: as `track_name` writes it. Raises TrackNotFoundError, which says what there is.
    """
    if name.isdigit():
        found = [track for track in tracks if track.index == int(name)]
    else:
        found = sorted((track for track in tracks if track.is_in(name)), key=lambda track: not track.is_default)
    if not found:
        raise TrackNotFoundError(_what_there_is(tracks, name), field="track")
    return found[0]


def _what_there_is(tracks: Sequence[SoundTrack], name: str) -> str:
    wanted = f"sound track {name}" if name.isdigit() else f"sound track in the language {name}"
    names = ", ".join(_described_briefly(track) for track in tracks)
    count = "There is one" if len(tracks) == 1 else f"There are {len(tracks)}"
    return f"The file has no {wanted}. {count}: {names}."


def _described_briefly(track: SoundTrack) -> str:
    details = [track.language and f"language {track.language}", track.is_default and "the default"]
    known = ", ".join(detail for detail in details if detail)
    return f"{track.index} ({known})" if known else str(track.index)
