"""How Whisper measures sound: samples, mel frames and windows."""

from __future__ import annotations

SAMPLE_RATE = 16_000  # samples per second, mono
BYTES_PER_SAMPLE = 2  # as they are kept on the disk: s16le
HOP_SAMPLES = 160  # from one mel frame to the next: 10 ms
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_SAMPLES
WINDOW_SECONDS = 30.0  # what the model hears at once
WINDOW_FRAMES = int(WINDOW_SECONDS) * FRAMES_PER_SECOND
