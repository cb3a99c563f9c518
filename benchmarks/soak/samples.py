"""Recordings for a soak, and the text that each must end with."""

from __future__ import annotations

from pathlib import Path

import requests

from benchmarks.load.server import LoadServer
from benchmarks.load.sounds import BYTES_PER_SECOND, cut, flac, wav
from benchmarks.recordings import read_recordings
from benchmarks.soak.workers import Sample
from tests.fake_engine import BYTES_PER_FRAME, WINDOW_FRAMES, fake_segment

CLIP_S = 8
CLIPS = 12
FIRST_LIMIT_S = 600.0


def samples_for_noop(recordings: Path, scratch: Path, window_s: float) -> list[Sample]:
    """The engine that computes nothing makes its text of the samples. window_s: how long it takes for a window."""
    options = {"initial_prompt": f"window_s={window_s}"}
    found = read_recordings(recordings, scratch)
    whole = [
        Sample(one.name, one.file.read_bytes(), noop_text(one.samples_path.read_bytes()), options) for one in found
    ]
    speech = b"".join(one.samples_path.read_bytes() for one in found)
    for number, piece in enumerate(cut(speech, CLIP_S * BYTES_PER_SECOND)[:CLIPS]):
        data, ending = (wav(piece), "wav") if number % 2 else (flac(piece), "flac")
        whole.append(Sample(f"clip-{number}.{ending}", data, noop_text(piece), options))
    return whole


def samples_for_model(recordings: Path, model: str, server: LoadServer) -> list[Sample]:
    """With a real model the expected text is what the undisturbed server makes of each recording."""
    found = []
    for file in sorted(recordings.glob("*.flac")):
        found.append(_transcribed(server, file.name, file.read_bytes(), {"model": model}))
    return found


def noop_text(samples: bytes) -> str:
    frames = len(samples) // BYTES_PER_FRAME
    windows = range(0, frames, WINDOW_FRAMES)
    return "".join(fake_segment(0, at, min(at + WINDOW_FRAMES, frames), samples).text for at in windows)


def _transcribed(server: LoadServer, name: str, data: bytes, options: dict[str, str]) -> Sample:
    task_id = server.upload(name, data, **options)["id"]
    server.wait_until(lambda: server.task(task_id)["status"] == "completed", f"the text of {name}", FIRST_LIMIT_S)
    text: str = server.get(f"/api/tasks/{task_id}/transcript")["text"]
    requests.delete(f"{server.url}/api/tasks/{task_id}", timeout=60).raise_for_status()
    return Sample(name, data, text, options)
