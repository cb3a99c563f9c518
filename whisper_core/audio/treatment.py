"""How a file is decoded: as openai-whisper does, unless that loses somebody or puts the text at the wrong time.

The file is decoded as usual first, and again in another way when what came out, or what ffmpeg said, calls for it.
So an ordinary recording has openai-whisper's own samples, and takes no longer.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, replace
from enum import Enum

from whisper_core.audio.ffmpeg_report import FfmpegReport, decibels
from whisper_core.audio.waveform import WaveformMeter
from whisper_core.common.units import SAMPLE_RATE

MAX_CHANNELS = 64
MOVED_S = 0.4  # by so much a text may be off before silence is put in
LONGEST_HOLE_S = 3600.0  # a longer one is a clock that was set, not a pause
_QUIETEST_DB = -70.0
_UNKNOWN_DB = -math.inf
_LOST_DB = 10.0  # below what an equal mix leaves of a voice on one channel
_TRIMMED = 0.001  # the part of the samples that may go at the edges of holes


class Mix(Enum):
    USUAL = "ffmpeg's"
    EQUAL = "all channels equally loud"
    DIFFERENCE = "the second channel subtracted from the first"
    LOUDEST = "the loudest channel alone"


@dataclass(frozen=True)
class Treatment:
    """fills_holes: silence where the file has no sound; None: that was tried and lost sound.

    ignores_length: of a wav whose header does not tell how much sound it has. levels: of the channels, once known.
    raw_format: of a file of bare frames, which ffmpeg cannot tell by itself.
    only_looks: nothing is decoded, to see which tracks there are. stream: of ffmpeg's numbers; None: ffmpeg chooses.
    """

    mix: Mix = Mix.USUAL
    fills_holes: bool | None = False
    ignores_length: bool = False
    raw_format: str | None = None
    levels: tuple[float, ...] = ()
    only_looks: bool = False
    stream: int | None = None

    @property
    def filters(self) -> str:
        """ffmpeg's. The first decode measures the channels in every eighth frame, beside the sound's own way."""
        if not self.levels:
            return _MEASURE
        filters = [_pan(self.mix, self.levels)] if self.mix is not Mix.USUAL else []
        if self.fills_holes:
            filters.append("aresample=async=1:first_pts=0")
        return ",".join(filters or ["anull"])


USUAL = Treatment()
_MEASURE = (
    r"asplit[m];[m]aselect=not(mod(n\,8)),"
    "astats=metadata=0:measure_perchannel=RMS_level:measure_overall=none,anullsink"
)


def _pan(mix: Mix, levels: tuple[float, ...]) -> str:
    match mix:
        case Mix.EQUAL:
            mixed = "+".join(f"{1 / len(levels):.6f}*c{place}" for place in range(len(levels)))
        case Mix.DIFFERENCE:
            mixed = "0.5*c0-0.5*c1"
        case _:
            mixed = f"c{levels.index(max(levels))}"
    return f"pan=mono|c0={mixed}"


def load_numpy() -> None:
    """Takes a tenth of a second, which neither a start nor the first recording has to wait for."""
    importlib.import_module("numpy")


class SoundMeter:
    """Counts what was decoded."""

    def __init__(self) -> None:
        self.count = 0
        self.audible = 0  # samples that are not zero
        self.silent_start = 0  # samples before the first of them
        self.waveform = WaveformMeter()
        self._squares = 0.0
        self._odd = b""

    def add(self, data: bytes) -> None:
        """data: s16le."""
        import numpy as np  # only here: see `load_numpy`

        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2").astype(np.float32)
        self.count += len(samples)
        if self.audible == 0:
            self.silent_start += int(np.argmax(samples != 0)) if samples.any() else len(samples)
        self.audible += int(np.count_nonzero(samples))
        self._squares += float(np.dot(samples, samples))
        self.waveform.add(samples)

    @property
    def late_s(self) -> float:
        """How long it is silent at the start, unless that is short or all there is."""
        silent_s = self.silent_start / SAMPLE_RATE
        return silent_s if self.audible and silent_s >= MOVED_S else 0.0

    @property
    def level(self) -> float:
        """In dB of full scale."""
        return decibels(self._squares / max(1, self.count) / 32768**2)


def next_treatment(tried: Treatment, report: FfmpegReport, sound: SoundMeter, usual_audible: int) -> Treatment | None:
    """How to decode the file again; None when what was decoded is best.

    usual_audible: how many samples that are not zero there were before holes were filled.
    """
    if unmixed := report.channels_without_positions:
        is_new = tried.mix is Mix.USUAL and unmixed <= MAX_CHANNELS
        return replace(tried, mix=Mix.EQUAL, levels=(_UNKNOWN_DB,) * unmixed) if is_new else None
    if sound.count == 0:
        return None
    levels = tried.levels or tuple(report.channel_levels) or (_UNKNOWN_DB,)
    wanted = replace(tried, levels=levels, mix=_better_mix(tried.mix, levels, sound.level))
    if tried.fills_holes and sound.audible < usual_audible * (1 - _TRIMMED) - MOVED_S * SAMPLE_RATE:
        wanted = replace(wanted, fills_holes=None)  # its clock jumps back, and what follows would be dropped
    elif tried.fills_holes is False:
        missing_s = (report.end_s or 0.0) - sound.count / SAMPLE_RATE
        wanted = replace(wanted, fills_holes=MOVED_S <= missing_s <= LONGEST_HOLE_S)
    return None if wanted == replace(tried, levels=levels) else wanted


def _better_mix(tried: Mix, levels: tuple[float, ...], level: float) -> Mix:
    """Opposite phases cancel each other, and ffmpeg's mix leaves out the channel for low frequencies."""
    loudest = max(levels)
    least = loudest - 20 * math.log10(len(levels)) - _LOST_DB
    if len(levels) == 1 or loudest < _QUIETEST_DB or level >= least:
        return tried
    if tried is Mix.USUAL:
        return Mix.DIFFERENCE if len(levels) == 2 else Mix.EQUAL
    return Mix.LOUDEST
