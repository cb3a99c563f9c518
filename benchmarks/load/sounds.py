"""Real sound in small files that all differ, and large files that are made while they are sent."""

from __future__ import annotations

import itertools
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.recordings import read_recordings
from whisper_core.audio.decode import find_ffmpeg

SMALL_BYTES = 100_000
BYTES_PER_SECOND = 32_000  # of 16 kHz mono int16
FLAC_SECONDS = 6.5  # of speech in about 100 kB
LARGE_PIECE = bytes(1 << 20)


@dataclass(frozen=True)
class SoundFile:
    name: str
    data: bytes


def speech(recordings: Path, scratch: Path) -> bytes:
    """All of the folder's recordings as 16 kHz mono int16, one after the other."""
    return b"".join(one.samples_path.read_bytes() for one in read_recordings(recordings, scratch))


def wav(samples: bytes, claimed: int | None = None) -> bytes:
    """claimed: bytes of sound that the header promises, when others follow."""
    size = min(len(samples) if claimed is None else claimed, 2**32 - 37)
    format_ = struct.pack("<HHIIHH", 1, 1, 16_000, BYTES_PER_SECOND, 2, 16)
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<I", 16) + format_
    return head + b"data" + struct.pack("<I", size) + samples


def small_files(samples: bytes) -> Iterator[SoundFile]:
    """Without end: WAV and FLAC in turn, 100 kB of speech each, no two alike."""
    wavs, flacs = (
        cut(samples, SMALL_BYTES),
        [flac(piece) for piece in cut(samples, int(FLAC_SECONDS * BYTES_PER_SECOND))],
    )
    for number in itertools.count():
        if number % 2:
            yield SoundFile(f"clip-{number}.flac", marked_flac(flacs[number // 2 % len(flacs)], number))
        else:
            yield SoundFile(f"clip-{number}.wav", marked_wav(wavs[number // 2 % len(wavs)], number))


def short_files(samples: bytes, seconds: float = 1.0) -> Iterator[SoundFile]:
    """Without end: WAV files of a second, no two alike."""
    pieces = cut(samples, int(seconds * BYTES_PER_SECOND))
    for number in itertools.count():
        yield SoundFile(f"clip-{number}.wav", marked_wav(pieces[number % len(pieces)], number))


def cut(samples: bytes, size: int) -> list[bytes]:
    """Pieces of that size; what is left over is dropped. Raises ValueError when there is not one."""
    size -= size % 2
    pieces = [samples[at : at + size] for at in range(0, len(samples) - size + 1, size)]
    if not pieces:
        raise ValueError("the recordings are shorter than one piece")
    return pieces


def marked_wav(samples: bytes, number: int) -> bytes:
    """The first two samples tell the files apart; nobody hears them."""
    return wav(struct.pack("<I", number) + samples[4:])


def flac(samples: bytes) -> bytes:
    command = [str(find_ffmpeg()), "-v", "error", "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "pipe:0"]
    return subprocess.run([*command, "-f", "flac", "pipe:1"], input=samples, capture_output=True, check=True).stdout


def marked_flac(data: bytes, number: int) -> bytes:
    """With a block of our own behind the first one, which is never the last: ffmpeg writes a comment after it."""
    head = 4 + 4 + 34  # "fLaC", and STREAMINFO
    if data[:4] != b"fLaC" or data[4] != 0:
        raise ValueError("a FLAC file whose first block is not its last is expected")
    block = b"load" + struct.pack("<Q", number)
    return data[:head] + bytes([2]) + len(block).to_bytes(3, "big") + block + data[head:]


def large_wav(nbytes: int) -> Iterator[bytes]:
    """Silence of that size, with a header, a piece at a time."""
    head = wav(b"", claimed=nbytes - 44)
    yield head
    left = nbytes - len(head)
    while left > 0:
        yield LARGE_PIECE[: min(left, len(LARGE_PIECE))]
        left -= len(LARGE_PIECE)
