"""The recordings of a benchmark: a folder with a `manifest.json`, and longer or more ones joined from them.

The manifest is a list of {"file", "seconds", "language", "text"}; text may be null.
"""

from __future__ import annotations

import itertools
import json
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whisper_core.audio.decode import AudioDecoder, DecodeLimits, find_ffmpeg

SAMPLE_RATE = 16_000
PAUSE_S = 0.5  # between joined recordings
MINUTE = (45.0, 80.0)  # seconds of what counts as one minute
CLIP_MAX_S = 30.0  # shorter ones are joined to minutes
SHORT = (2.5, 10.0)  # seconds of what counts as a short clip
SILENCES_S = (0.0, 0.3, 0.6, 0.9)  # before a clip, which makes another one of it


@dataclass(frozen=True)
class Recording:
    """file: as it is uploaded. samples_path: the same sound, int16, 16 kHz mono, without a header. text: what is
    said, None when nobody wrote it down. parts: the files it was joined from, itself alone when it was not."""

    name: str
    file: Path
    samples_path: Path
    seconds: float
    language: str
    text: str | None
    parts: tuple[str, ...]


def read_recordings(folder: Path, scratch: Path) -> list[Recording]:
    """Those of the manifest, decoded into `scratch`."""
    decoder = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=12 * 3600, timeout_s=600))
    recordings = []
    for entry in json.loads((folder / "manifest.json").read_text()):
        name, file = entry["file"], folder / entry["file"]
        samples_path = scratch / f"{name}.pcm"
        seconds = decoder.decode(file, samples_path).seconds
        recordings.append(Recording(name, file, samples_path, seconds, entry["language"], entry["text"], (name,)))
    return recordings


def one_minute_recordings(recordings: Sequence[Recording], count: int, scratch: Path) -> list[Recording]:
    """`count` different English recordings of about a minute: those that are there, then such with short ones before
    or behind them, which moves every window. Raises ValueError when there are not enough different ones."""
    english = [recording for recording in recordings if recording.language == "en"]
    minutes = [recording for recording in english if MINUTE[0] <= recording.seconds <= MINUTE[1]]
    clips = [recording for recording in english if recording.seconds < CLIP_MAX_S]
    chosen = minutes[:count]
    for parts in itertools.islice(_joinable(minutes, clips), count - len(chosen)):
        chosen.append(join(parts, scratch))
    if len(chosen) < count:
        raise ValueError(f"{count} one-minute recordings cannot be made of {len(minutes)} and {len(clips)} short ones")
    return chosen


def short_clips(recordings: Sequence[Recording], count: int, scratch: Path) -> list[Recording]:
    """`count` different English clips: the short recordings, two of them joined, then both after a moment of silence.
    Raises ValueError when there are not enough."""
    short = [one for one in recordings if one.language == "en" and SHORT[0] <= one.seconds <= SHORT[1]]
    made = [[one] for one in short] + [list(pair) for pair in itertools.permutations(short, 2)]
    chosen: list[Recording] = []
    for silence_s, parts in itertools.product(SILENCES_S, made):
        seconds = silence_s + sum(part.seconds for part in parts) + PAUSE_S * (len(parts) - 1)
        if len(chosen) < count and seconds <= SHORT[1]:
            chosen.append(parts[0] if len(parts) == 1 and not silence_s else join(parts, scratch, silence_s))
    if len(chosen) < count:
        raise ValueError(f"{count} clips cannot be made of {len(short)} short recordings")
    return chosen


def long_recording(
    recordings: Sequence[Recording], minutes: Sequence[Recording], seconds: float, scratch: Path
) -> Recording:
    """One of at least `seconds` and not half as long again: one that is there, or `minutes` joined."""
    for recording in recordings:
        if recording.language == "en" and seconds <= recording.seconds <= 1.5 * seconds:
            return recording
    parts: list[Recording] = []
    for recording in minutes:
        parts.append(recording)
        if sum(part.seconds + PAUSE_S for part in parts) >= seconds:
            return join(parts, scratch)
    raise ValueError(f"the one-minute recordings do not last {seconds:.0f} s together")


def join(parts: Sequence[Recording], scratch: Path, silence_s: float = 0.0) -> Recording:
    """One after the other with a pause between, behind so much silence, as a WAV file in `scratch`."""
    pause = np.zeros(int(PAUSE_S * SAMPLE_RATE), dtype=np.int16)
    pieces = [piece for part in parts for piece in (np.fromfile(part.samples_path, dtype="<i2"), pause)][:-1]
    samples = np.concatenate([np.zeros(int(silence_s * SAMPLE_RATE), dtype=np.int16), *pieces])
    name = "+".join(Path(part.name).stem for part in parts) if len(parts) < 4 else f"{len(parts)}-joined"
    if silence_s:
        name = f"{1000 * silence_s:.0f}ms-{name}"
    file, samples_path = scratch / f"{name}.wav", scratch / f"{name}.wav.pcm"
    with wave.open(str(file), "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(SAMPLE_RATE)
        output.writeframes(samples.tobytes())
    samples_path.write_bytes(samples.tobytes())
    texts = [part.text for part in parts]
    text = None if None in texts else " ".join(str(text) for text in texts)
    names = tuple(name for part in parts for name in part.parts)
    return Recording(file.name, file, samples_path, len(samples) / SAMPLE_RATE, parts[0].language, text, names)


def _joinable(minutes: Sequence[Recording], clips: Sequence[Recording]) -> Iterator[list[Recording]]:
    """Every minute with one clip before it, then one behind it, then one on either side; neighbours differ in both."""
    for shift, _ in enumerate(clips):
        yield from ([clips[(place + shift) % len(clips)], minute] for place, minute in enumerate(minutes))
    for shift, _ in enumerate(clips):
        yield from ([minute, clips[(place + shift) % len(clips)]] for place, minute in enumerate(minutes))
    for before, behind in itertools.permutations(clips, 2):
        yield from ([before, minute, behind] for minute in minutes)
