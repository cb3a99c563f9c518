"""An engine without torch: its text follows from the samples, and faults are provoked by the task's initial prompt.

tests/whisper_core/test_fake_engine_is_honest.py holds it against the real one: the same windows, the same shape.
Prompts, joined by spaces: `window_s=0.05`, `fail=<error code>`, `abort@2` (kill the process before window 2), `hang@1`,
`once` (only in the first attempt, that is, when no window was saved before).
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

from errors import TaskError, error_class_of
from whisper_core.protocol import MemoryReport, RunTask
from whisper_core.transcript import Checkpoint, Segment, Transcript, WindowResult

WINDOW_FRAMES = 3000
BYTES_PER_FRAME = 320  # 10 ms of 16 kHz s16
WEIGHTS_BYTES = 1_000_000


class FakeEngine:
    title = "fake device"

    def __init__(self, device: str, cpu_threads: int) -> None:
        self._resident: set[str] = set()
        self._hold = threading.Event()  # never set: waiting on it is a bounded sleep

    def load(self, model: str, models_dir: Path) -> int:
        self._resident.add(model)
        return WEIGHTS_BYTES

    def unload(self, model: str) -> None:
        self._resident.discard(model)

    def memory(self) -> MemoryReport:
        return MemoryReport(used=len(self._resident) * WEIGHTS_BYTES, peak=2 * WEIGHTS_BYTES)

    def task_peak_bytes(self) -> int:
        return 500_000

    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        knobs = dict(word.partition("=")[::2] for word in (command.options.initial_prompt or "").split())
        samples = Path(command.audio_path).read_bytes()
        content_frames = len(samples) // BYTES_PER_FRAME
        segments = list(command.segments)
        seek = command.resume.seek if command.resume else 0
        index = command.first_window
        is_armed = "once" not in knobs or command.resume is None
        while seek < content_frames:
            if should_stop():
                return None
            if is_armed:
                self._provoke(knobs, index)
            self._hold.wait(float(knobs.get("window_s", "0")))
            end = min(seek + WINDOW_FRAMES, content_frames)
            segment = fake_segment(len(segments), seek, end, samples)
            segments.append(segment)
            seek = end
            on_window(WindowResult(index, (segment,), Checkpoint("en", seek, content_frames)))
            index += 1
        return Transcript("".join(segment.text for segment in segments), "en", tuple(segments))

    def _provoke(self, knobs: dict[str, str], index: int) -> None:
        if f"abort@{index}" in knobs:
            os.abort()
        if f"hang@{index}" in knobs:
            self._hold.wait(600)
        if "fail" in knobs:
            error = error_class_of(knobs["fail"])
            raise error() if issubclass(error, TaskError) else TaskError()


def fake_segment(number: int, seek: int, end: int, samples: bytes) -> Segment:
    word = zlib.crc32(samples[seek * BYTES_PER_FRAME : end * BYTES_PER_FRAME])
    return Segment(
        id=number,
        seek=seek,
        start=seek / 100,
        end=end / 100,
        text=f" {word:08x}",
        tokens=(number,),
        temperature=0.0,
        avg_logprob=-0.1,
        compression_ratio=1.0,
        no_speech_prob=0.0,
    )
