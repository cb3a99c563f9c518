"""The voices of benchmarks/diarization.py: recordings in Debian's packages, one person in each, with their licences.

The packages are downloaded and unpacked into a folder, not installed; that needs a Debian with its package lists.
"""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whisper_core.audio.decode import find_ffmpeg

SAMPLE_RATE = 16_000
RECORDINGS = 90  # of a voice, at most, chosen at random
SHORTEST_S, LONGEST_S = 1.2, 40.0

_SMALLEST = 1000  # bytes; some files of the packages are empty
_FRAME = 320  # 20 ms
_SILENCE_DB = -30.0  # below the loudest moment of a recording; the noise in them is 34 to 51 dB below it
_PAUSE = 15  # frames, 0.3 s: a longer silence is a pause

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Voice:
    """files: a pattern below the unpacked package."""

    name: str
    package: str
    files: str
    licence: str


@dataclass(frozen=True)
class Recording:
    """samples: 16 kHz mono, of one loudness, cut to the speech. speech: start and end in samples of all that lies
    between pauses."""

    samples: Samples
    speech: tuple[tuple[int, int], ...]


_CORE = "asterisk-core-sounds"
VOICES = (
    Voice("english", f"{_CORE}-en-g722", "**/*.g722", "CC BY-SA 3.0, Allison Smith"),
    Voice("french", f"{_CORE}-fr-g722", "**/*.g722", "CC BY-SA 3.0, June Wallack"),
    Voice("italian", f"{_CORE}-it-g722", "**/*.g722", "CC BY 3.0, Carlo Flora"),
    Voice("russian", f"{_CORE}-ru-g722", "**/*.g722", "CC BY 3.0, ivrvoice.ru"),
    Voice("italian-8khz", "asterisk-prompt-it-menardi-wav", "**/*.wav", "CC BY-SA 3.0, Paola Dal Zot"),
    Voice("french-8khz", "asterisk-prompt-fr-armelle", "**/*.gsm", "BSD or GPL, Armelle Desjardins"),
    Voice("spanish-8khz", "asterisk-prompt-es-co", "**/*.gsm", "GPL"),
    Voice("czech-small", "fillets-ng-data-cs", "**/cs/*-m-*.ogg", "GPL-2+"),
    Voice("czech-big", "fillets-ng-data-cs", "**/cs/*-v-*.ogg", "GPL-2+"),
    Voice("dutch-small", "fillets-ng-data-nl", "**/nl/*-m-*.ogg", "GPL-2+"),
    Voice("dutch-big", "fillets-ng-data-nl", "**/nl/*-v-*.ogg", "GPL-2+"),
)


def fetch_voices(folder: Path) -> None:
    """Downloads and unpacks what is not there yet. Raises CalledProcessError where there is no such package."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in sorted({voice.package for voice in VOICES}):
        if (folder / package).is_dir():
            continue
        subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", archive.name, package], cwd=folder, check=True)
        archive.unlink()


def read_voice(voice: Voice, folder: Path) -> list[Recording]:
    """Some of its recordings, always the same."""
    files = sorted(file for file in (folder / voice.package).glob(voice.files) if file.stat().st_size > _SMALLEST)
    random.Random(voice.name).shuffle(files)
    found: list[Recording] = []
    for file in files:
        samples = _decoded(file)
        if SHORTEST_S * SAMPLE_RATE <= len(samples) <= LONGEST_S * SAMPLE_RATE:
            found.append(trimmed(samples))
        if len(found) == RECORDINGS:
            break
    return found


def _decoded(file: Path) -> Samples:
    command = [str(find_ffmpeg()), "-v", "error", "-i", str(file), "-ac", "1", "-ar", str(SAMPLE_RATE)]
    done = subprocess.run([*command, "-f", "f32le", "-"], check=True, capture_output=True)
    return np.frombuffer(done.stdout, np.float32)


def trimmed(samples: Samples) -> Recording:
    """Without what lies before and after the speech, at the loudness of all."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    power = 10 * np.log10(np.square(frames).mean(1) + 1e-10)
    is_loud = np.flatnonzero(power > power.max() + _SILENCE_DB)
    breaks = np.flatnonzero(np.diff(is_loud) > _PAUSE)
    first = int(is_loud[0])
    starts = [first, *is_loud[breaks + 1].tolist()]
    stops = [*is_loud[breaks].tolist(), int(is_loud[-1])]
    speech = tuple(
        ((start - first) * _FRAME, (stop + 1 - first) * _FRAME) for start, stop in zip(starts, stops, strict=True)
    )
    cut = samples[first * _FRAME : (stops[-1] + 1) * _FRAME]
    loudness = np.sqrt(np.square(cut).mean())
    return Recording((cut * (0.07 / loudness)).astype(np.float32), speech)
