"""Decodes any file with sound to 16 kHz mono samples, in an ffmpeg process that is limited in time and memory.

The samples are counted while they are written, because the length that a file claims cannot be trusted. ffmpeg can open
neither the network nor another file nor a playlist: it gets the file open, as its standard input, and the whitelist of
formats goes by content. What the system adds to that is in `sandbox`.
"""

from __future__ import annotations

import io
import logging
import math
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGKILL, SIGXCPU

from errors import (
    AudioTooLongError,
    DecodeTimeoutError,
    EmptyFileError,
    FfmpegMissingError,
    NoAudioStreamError,
    ShuttingDownError,
    SourceMissingError,
    TranscriptionServerError,
    UnsupportedMediaError,
)
from whisper_core.audio.ffmpeg_report import FfmpegReport
from whisper_core.audio.formats import WHITELIST
from whisper_core.audio.launcher import EXIT_CANNOT_START
from whisper_core.audio.raw_frames import raw_format
from whisper_core.audio.sample_writer import KeepSamples, SampleWriter, keep_all
from whisper_core.audio.sandbox import SandboxedChild, SandboxLimits, SandboxTimeoutError, measures, sandboxed
from whisper_core.audio.stale_header import has_stale_header
from whisper_core.audio.tracks import SoundTrack, choose_track
from whisper_core.audio.treatment import USUAL, SoundMeter, Treatment, load_numpy, next_treatment
from whisper_core.audio.waveform import Waveform
from whisper_core.common.units import BYTES_PER_SAMPLE, SAMPLE_RATE

log = logging.getLogger(__name__)

MAX_STREAMS = 64
EXIT_MOSTLY_ERRORS = 69  # ffmpeg's status when more than two thirds of the packets could not be decoded
MAX_ATTEMPTS = 7  # of one file: with other ways, and other treatments
_DIFFERENT_S, _DIFFERENT = 1.0, 0.02  # by so much, and such a part, a recording may be shorter than it says

_NO_PROTOCOL_SIGN = re.compile(r"(\[error\] )?(\[in#0 @ \w+\] )?(\[\w+\] )?fd:: protocol not found")
_EXIT_NO_LIBRARY = 127  # the status when the system cannot load a library of the program's

# The input as ffmpeg is told to open it: the descriptor itself (ffmpeg 6 and later), or by the name that it has.
_BY_DESCRIPTOR = ("fd,pipe", "fd:")
_BY_NAME = ("file,pipe", "file:/proc/self/fd/0" if sys.platform == "linux" else "file:/dev/fd/0")
_IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class DecodeLimits:
    max_seconds: float  # of sound
    timeout_s: float  # wall time of one decode
    memory_bytes: int = 2 << 30  # of the ffmpeg process


@dataclass(frozen=True)
class DecodedAudio:
    seconds: float
    sample_count: int
    is_truncated: bool  # the file is cut or damaged, and the samples are the part that could be read
    declared_s: float | None = None  # how long such a file claims to be; None: it does not say, or no longer than it is
    is_kept: bool = True  # whether the samples were written, not only counted
    tracks: tuple[SoundTrack, ...] = ()  # all of the file, with the one marked that was decoded
    late_s: float = 0.0  # how long the silence is that was put before sound that starts late
    waveform: Waveform | None = field(default=None, compare=False, repr=False)


class SlowDecodeError(Exception):
    """A decode was given up after the time that it had; nothing is known of the file."""


def find_ffmpeg(override: str = "") -> Path:
    """The absolute path of `override` (a path, or a name on PATH), or else of the installed package's ffmpeg.

    Raises FfmpegMissingError.
    """
    candidate = override or _packaged_ffmpeg()
    found = shutil.which(candidate)
    if found is None:
        raise FfmpegMissingError()
    return Path(found).absolute()


def _packaged_ffmpeg() -> str:
    import imageio_ffmpeg  # only here, because it reads the environment and may start a process

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FfmpegMissingError() from error


@dataclass(frozen=True)
class FfmpegWays:
    """How this ffmpeg must be treated; found out by what it says when that fails."""

    opens_descriptor: bool = True
    restricts_files: bool = True
    drops_user: bool = True

    @property
    def left_out(self) -> list[str]:
        """See `sandboxed`."""
        kept = {"uid": self.drops_user, "landlock": self.restricts_files}
        return [measure for measure, is_kept in kept.items() if not is_kept]


def ffmpeg_command(
    ffmpeg: Path, max_seconds: float, *, opens_descriptor: bool = True, treatment: Treatment = USUAL
) -> list[str]:
    """The command that prints its input as 16 kHz mono s16le. The limits on what it may open must precede `-i`.

    Without `-map` ffmpeg chooses the track, as for openai-whisper: the default one, or that with the most channels.
    One filter thread, because each takes address space.
    """
    length = "0" if treatment.only_looks else f"{max_seconds + 1:.0f}"
    protocols, source = _BY_DESCRIPTOR if opens_descriptor else _BY_NAME
    return [
        *[str(ffmpeg), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info"],
        *["-protocol_whitelist", protocols, "-format_whitelist", WHITELIST, "-max_streams", str(MAX_STREAMS)],
        *(["-ignore_length", "1"] if treatment.ignores_length else []),
        *(["-f", treatment.raw_format] if treatment.raw_format else []),
        *["-i", source, "-vn", "-sn", "-dn"],
        *(["-map", f"0:{treatment.stream}"] if treatment.stream is not None else []),
        *["-threads", "1", "-filter_threads", "1", "-t", length],
        *["-af", treatment.filters],
        *["-f", "s16le", "-ac", "1", "-ar", str(SAMPLE_RATE), "pipe:1"],
    ]


class AudioDecoder:
    """Turns files into samples. Any number of threads may decode at the same time, each with its own ffmpeg."""

    def __init__(self, ffmpeg: Path, limits: DecodeLimits) -> None:
        self._ffmpeg = ffmpeg
        self._limits = limits
        self._ways = FfmpegWays()
        load_numpy()
        self._running: set[SandboxedChild] = set()
        self._is_stopped = False
        self._lock = threading.Lock()

    def decode(
        self,
        source: Path,
        destination: Path,
        *,
        track: str | None = None,
        may_keep: KeepSamples = keep_all,
        give_up_after_s: float = math.inf,
    ) -> DecodedAudio:
        """Writes the samples of one sound track of `source` to `destination`, all of them or none. Blocks.

        track: see `choose_track`; None: the default one. may_keep: see SampleWriter. give_up_after_s: after so long
        SlowDecodeError is raised, and nothing is kept.
        Raises EmptyFileError, UnsupportedMediaError, NoAudioStreamError, TrackNotFoundError, AudioTooLongError,
        DecodeTimeoutError, DiskFullError, SourceMissingError, FfmpegMissingError, and ShuttingDownError after `stop`.
        """
        _refuse_empty(source)
        give_up_at = time.monotonic() + give_up_after_s
        treatment = _first_treatment(source, track)
        usual_audible = 0
        for attempt in range(1, MAX_ATTEMPTS + 1):
            ways, sound = self._ways, SoundMeter()
            with SampleWriter(destination, may_keep) as writer:
                report = self._run(source, _Sink(writer, sound), ways, treatment, give_up_at)
                other_ways = _ways_after(ways, report)
                better = (
                    _of_track(treatment, report, track)
                    if treatment.only_looks
                    else next_treatment(treatment, report, sound, usual_audible)
                )
                if other_ways is None and (better is None or attempt == MAX_ATTEMPTS):
                    decoded = _result_of(source, writer, report, treatment, sound)
                    writer.publish()
                    return decoded
            if other_ways is not None:
                self._ways = other_ways
                log.warning("event=decoder_treated_otherwise %s", other_ways)
            elif better is not None:
                treatment, usual_audible = better, sound.audible if not treatment.fills_holes else usual_audible
        raise UnsupportedMediaError()

    def measures(self) -> Mapping[str, str]:
        """What ffmpeg is locked in by on this system; see `sandbox`."""
        return measures(str(self._ffmpeg))

    def stop(self) -> None:
        """Kills the running processes. Their decodes, and all later ones, raise ShuttingDownError."""
        with self._lock:
            self._is_stopped = True
            for child in self._running:
                child.kill()

    def _run(
        self, source: Path, sink: _Sink, ways: FfmpegWays, treatment: Treatment, give_up_at: float
    ) -> FfmpegReport:
        limits = SandboxLimits(memory_bytes=self._limits.memory_bytes, timeout_s=self._limits.timeout_s)
        command = ffmpeg_command(
            self._ffmpeg, self._limits.max_seconds, opens_descriptor=ways.opens_descriptor, treatment=treatment
        )
        is_given_up = False
        try:
            with (
                _opened(source) as file,
                sandboxed(command, limits, source=file, left_out=ways.left_out) as child,
            ):
                if is_given_up := give_up_at < child.deadline:
                    child.deadline = give_up_at
                with self._stoppable(child):
                    self._copy(child, sink)
                is_given_up = False
                status = child.wait()
        except SandboxTimeoutError as error:
            if is_given_up:
                raise SlowDecodeError() from error
            raise DecodeTimeoutError() from error
        if self._is_stopped:
            raise ShuttingDownError()
        return FfmpegReport(status, child.messages)

    @contextmanager
    def _stoppable(self, child: SandboxedChild) -> Iterator[None]:
        """Lets `stop` kill the child within the block only: once it has been waited for, its id may be another's."""
        with self._lock:
            self._running.add(child)
            if self._is_stopped:
                child.kill()
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(child)

    def _copy(self, child: SandboxedChild, sink: _Sink) -> None:
        """Raises AudioTooLongError at the first sample beyond the limit."""
        max_bytes = int(self._limits.max_seconds * SAMPLE_RATE) * BYTES_PER_SAMPLE
        for samples in child.stdout():
            sink.writer.write(samples)
            sink.sound.add(samples)
            if sink.writer.nbytes > max_bytes:
                raise AudioTooLongError()


@dataclass(frozen=True)
class _Sink:
    writer: SampleWriter
    sound: SoundMeter


def _ways_after(ways: FfmpegWays, report: FfmpegReport) -> FfmpegWays | None:
    """How to try again when ffmpeg could not even begin; None when the outcome counts.

    What a file makes ffmpeg say comes with the name of a demuxer before it, so no file can bring this about."""
    if report.status == _EXIT_NO_LIBRARY and ways.restricts_files:
        return replace(ways, restricts_files=False)
    if report.status == _EXIT_NO_LIBRARY and ways.drops_user:
        return replace(ways, drops_user=False)
    first_lines = report.messages.lower().splitlines()[:2]  # a script's shell may say something before ffmpeg does
    is_too_old = any(_NO_PROTOCOL_SIGN.match(line) for line in first_lines)
    if report.status != 0 and ways.opens_descriptor and is_too_old:
        return replace(ways, opens_descriptor=False, drops_user=False)  # only its owner can open it by name
    return None


def _of_track(treatment: Treatment, report: FfmpegReport, track: str | None) -> Treatment:
    """How to decode that track. Raises TrackNotFoundError; a file without sound is decoded to see what is wrong."""
    tracks = report.tracks
    stream = choose_track(tracks, track).stream if tracks and track else None
    return replace(treatment, only_looks=False, stream=stream)


def _opened(source: Path) -> io.FileIO:
    try:
        return open(source, "rb", buffering=0)
    except FileNotFoundError as error:
        raise SourceMissingError() from error


def _refuse_empty(source: Path) -> None:
    try:
        size = source.stat().st_size
    except FileNotFoundError as error:
        raise SourceMissingError() from error
    if size == 0:
        raise EmptyFileError()


def _result_of(
    source: Path, writer: SampleWriter, report: FfmpegReport, treatment: Treatment, sound: SoundMeter
) -> DecodedAudio:
    """What ffmpeg's exit status and messages mean."""
    sample_count = writer.nbytes // BYTES_PER_SAMPLE
    if report.status == EXIT_CANNOT_START:
        raise FfmpegMissingError()
    if report.status in (-SIGXCPU, -SIGKILL):
        raise DecodeTimeoutError()
    if report.status == EXIT_MOSTLY_ERRORS:
        raise UnsupportedMediaError()
    if sample_count == 0:
        raise _why_no_samples(source, report)
    seconds = sample_count / SAMPLE_RATE
    declared_s = report.declared_s or 0.0
    is_shorter = declared_s - max(seconds, report.end_s or 0.0) > max(_DIFFERENT_S, declared_s * _DIFFERENT)
    # Beyond what a wav's header says, its last packet is always an incomplete one.
    is_damaged = report.status != 0 if treatment.ignores_length else report.tells_of_damage
    is_truncated = is_damaged or is_shorter
    known_s = declared_s if is_truncated and declared_s > seconds else None
    late_s = sound.late_s if treatment.fills_holes else 0.0
    waveform = sound.waveform.waveform()
    return DecodedAudio(seconds, sample_count, is_truncated, known_s, writer.is_kept, report.tracks, late_s, waveform)


def _first_treatment(source: Path, track: str | None) -> Treatment:
    """As usual, but for what a look into the file shows already."""
    with _opened(source) as file:
        return Treatment(
            ignores_length=has_stale_header(file), raw_format=raw_format(file), only_looks=track is not None
        )


def _why_no_samples(source: Path, report: FfmpegReport) -> TranscriptionServerError:
    if report.status == 0 or report.tells_of_no_sound or _is_image(source):
        return NoAudioStreamError()
    return UnsupportedMediaError()


def _is_image(source: Path) -> bool:
    with open(source, "rb") as file:
        start = file.read(12)
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return is_webp or start.startswith(_IMAGE_STARTS)
