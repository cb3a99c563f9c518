"""Decodes any file with sound to 16 kHz mono samples, in an ffmpeg process that is limited in time and memory.

The samples are counted while they are written, because the length that a file claims cannot be trusted. ffmpeg can open
neither the network nor another file nor a playlist: the whitelist of formats goes by content, not by the file's name.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGXCPU
from typing import BinaryIO

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
from whisper_core.audio.launcher import EXIT_CANNOT_START
from whisper_core.audio.sandbox import SandboxedChild, SandboxLimits, SandboxTimeoutError, sandboxed
from whisper_core.common.durable_files import disk_errors, replace_durably
from whisper_core.common.units import SAMPLE_RATE

BYTES_PER_SAMPLE = 2
# Without playlists and images.
FORMATS = "aac,aiff,amr,ape,asf,au,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,wav,w64,webm,wv"
MAX_STREAMS = 64
EXIT_MOSTLY_ERRORS = 69  # ffmpeg's status when more than two thirds of the packets could not be decoded

# ffmpeg's messages, in lower case, about a file of which only a part could be read.
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
_NO_SOUND_SIGN = "matches no streams"
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


def ffmpeg_command(ffmpeg: Path, source: Path, max_seconds: float) -> list[str]:
    """The command that prints `source` as 16 kHz mono s16le. The limits on what it may open must precede `-i`.

    `-loglevel warning` is the lowest level that reports a truncated mp3 or wav. One filter thread, because each takes
    address space.
    """
    return [
        *[str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "warning"],
        *["-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS, "-max_streams", str(MAX_STREAMS)],
        *["-i", f"file:{source.absolute()}", "-map", "0:a:0", "-vn", "-sn", "-dn"],
        *["-threads", "1", "-filter_threads", "1", "-t", f"{max_seconds + 1:.0f}"],
        *["-f", "s16le", "-ac", "1", "-ar", str(SAMPLE_RATE), "pipe:1"],
    ]


class AudioDecoder:
    """Turns files into samples. Any number of threads may decode at the same time, each with its own ffmpeg."""

    def __init__(self, ffmpeg: Path, limits: DecodeLimits) -> None:
        self._ffmpeg = ffmpeg
        self._limits = limits
        self._running: set[SandboxedChild] = set()
        self._is_stopped = False
        self._lock = threading.Lock()

    def decode(self, source: Path, destination: Path) -> DecodedAudio:
        """Writes the samples of the first audio stream of `source` to `destination`, all of them or none. Blocks.

        Raises EmptyFileError, UnsupportedMediaError, NoAudioStreamError, AudioTooLongError, DecodeTimeoutError,
        DiskFullError, SourceMissingError, FfmpegMissingError, and ShuttingDownError after `stop`.
        """
        _refuse_empty(source)
        unfinished = destination.with_name(destination.name + ".tmp")
        try:
            with disk_errors():
                with open(unfinished, "wb") as output:
                    decoded = self._run(source, output)
                replace_durably(unfinished, destination)
        finally:
            unfinished.unlink(missing_ok=True)
        return decoded

    def stop(self) -> None:
        """Kills the running processes. Their decodes, and all later ones, raise ShuttingDownError."""
        with self._lock:
            self._is_stopped = True
            for child in self._running:
                child.kill()

    def _run(self, source: Path, output: BinaryIO) -> DecodedAudio:
        limits = SandboxLimits(memory_bytes=self._limits.memory_bytes, timeout_s=self._limits.timeout_s)
        command = ffmpeg_command(self._ffmpeg, source, self._limits.max_seconds)
        try:
            with sandboxed(command, limits) as child:
                with self._stoppable(child):
                    written = self._copy(child, output)
                status = child.wait()
        except SandboxTimeoutError as error:
            raise DecodeTimeoutError() from error
        if self._is_stopped:
            raise ShuttingDownError()
        messages = child.errors.decode("utf-8", "replace").lower()
        return _result_of(source, written // BYTES_PER_SAMPLE, status, messages)

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

    def _copy(self, child: SandboxedChild, output: BinaryIO) -> int:
        """Returns the number of bytes written. Raises AudioTooLongError at the first sample beyond the limit."""
        max_bytes = int(self._limits.max_seconds * SAMPLE_RATE) * BYTES_PER_SAMPLE
        written = 0
        for samples in child.stdout():
            written += len(samples)
            if written > max_bytes:
                raise AudioTooLongError()
            output.write(samples)
        return written


def _refuse_empty(source: Path) -> None:
    try:
        size = source.stat().st_size
    except FileNotFoundError as error:
        raise SourceMissingError() from error
    if size == 0:
        raise EmptyFileError()


def _result_of(source: Path, sample_count: int, status: int, messages: str) -> DecodedAudio:
    """What ffmpeg's exit status and messages mean. messages: in lower case; never shown to anybody."""
    if status == EXIT_CANNOT_START:
        raise FfmpegMissingError()
    if status == -SIGXCPU:
        raise DecodeTimeoutError()
    if status == EXIT_MOSTLY_ERRORS:
        raise UnsupportedMediaError()
    if sample_count == 0:
        raise _why_no_samples(source, status, messages)
    is_truncated = status != 0 or any(sign in messages for sign in _DAMAGE_SIGNS)
    return DecodedAudio(sample_count / SAMPLE_RATE, sample_count, is_truncated)


def _why_no_samples(source: Path, status: int, messages: str) -> TranscriptionServerError:
    if status == 0 or _NO_SOUND_SIGN in messages or _is_image(source):
        return NoAudioStreamError()
    return UnsupportedMediaError()


def _is_image(source: Path) -> bool:
    with open(source, "rb") as file:
        start = file.read(12)
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return is_webp or start.startswith(_IMAGE_STARTS)
