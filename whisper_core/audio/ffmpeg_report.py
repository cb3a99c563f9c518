"""What ffmpeg says of a file while it decodes it, at its log level `level+info`.

A file may hold any text, and ffmpeg prints some of it, so nothing here is trusted further than to choose how the file
is decoded, and what is said of it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property

from whisper_core.audio.tracks import SoundTrack, sound_tracks

# ffmpeg calls every adx's last packet corrupt, which is shorter than the others.
_COMPLAINT = re.compile(
    r"^(?!\[in#0/adx @)(?:\[[^\]\n]* @ \w+\] )*\[(?:warning|error|fatal|panic)\] (.*)", re.MULTILINE
)
_DECLARED = re.compile(r"^\[info\]   Duration: (\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)
_STREAM = re.compile(r"^\[info\]   Stream #0:\d+.*?: (Audio|Video|Subtitle|Data|Attachment): (.*)$", re.MULTILINE)
_END = re.compile(r"^\[info\] size=.* time=(\d+):(\d\d):(\d\d\.\d+)", re.MULTILINE)
_LOUDNESS = re.compile(r"^\[Parsed_astats\S* @ \w+\] \[info\] RMS level dB: (-?[\d.]+|-?inf)", re.MULTILINE)
_UNMIXED = re.compile(r"\[SWR @ \w+\] \[error\] Rematrix is needed between (\d+) channels and mono")
_GUESSED = "Estimating duration from bitrate"

# About a file of which only a part could be read, in lower case
_DAMAGE_SIGNS = (
    "partial file",
    "ended prematurely",
    "corrupt",
    "truncat",
    "filesize and duration do not match",
    "error submitting packet",
    "decoding error",
    "error during demuxing",
)
_NO_SOUND_SIGNS = ("matches no streams", "output file does not contain any stream")


@dataclass(frozen=True)
class FfmpegReport:
    """status: ffmpeg's exit status. messages: never shown to anybody."""

    status: int
    messages: str

    @cached_property
    def complaints(self) -> str:
        """Warnings and errors, in lower case."""
        return "\n".join(_COMPLAINT.findall(self.messages)).lower()

    @property
    def tells_of_damage(self) -> bool:
        return self.status != 0 or any(sign in self.complaints for sign in _DAMAGE_SIGNS)

    @property
    def tells_of_no_sound(self) -> bool:
        return any(sign in self.complaints for sign in _NO_SOUND_SIGNS)

    @property
    def end_s(self) -> float | None:
        """When the last sample is heard, by the file's clock. Samples that were counted end earlier after a hole."""
        ends = _END.findall(self.messages)
        return _seconds(ends[-1]) if ends else None

    @property
    def declared_s(self) -> float | None:
        """How long the sound claims to be. None when the file does not say, or says it of pictures as well."""
        declared = _DECLARED.search(self.messages)
        described, _, _ = self.messages.partition("Stream mapping:")
        kinds = [kind for kind, rest in _STREAM.findall(described) if "(attached pic)" not in rest]
        if declared is None or kinds != ["Audio"] or _GUESSED in self.messages:
            return None
        return _seconds(declared.groups())

    @property
    def tracks(self) -> tuple[SoundTrack, ...]:
        """Every sound track of the file, with the one marked that was decoded."""
        return sound_tracks(self.messages)

    @property
    def channel_levels(self) -> list[float]:
        """The loudness of each channel in dB of full scale; none when they were not measured."""
        return [float(level) for level in _LOUDNESS.findall(self.messages)]

    @property
    def channels_without_positions(self) -> int:
        """How many channels ffmpeg has no mix for, as it does not know where they stand. 0: it has one."""
        unmixed = _UNMIXED.search(self.messages)
        return int(unmixed[1]) if unmixed else 0


def _seconds(clock: tuple[str, ...]) -> float:
    hours, minutes, seconds = clock
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def decibels(mean_square: float) -> float:
    """mean_square: of samples from -1 to 1."""
    return 10 * math.log10(mean_square) if mean_square > 0 else -math.inf
