"""Engines without torch: their text follows from the samples, and faults are provoked by the task's initial prompt.

tests/whisper_core/worker/test_fake_engine_is_honest.py holds them against the real one: same windows, same shape.
Prompts, joined by spaces: `window_s=0.05`, `fail=<error code>`, `abort@2` (kill the process before window 2), `hang@1`,
`oom>3` (the device has memory for 3 tasks at a time, so that more take turns; for 0: never enough for this one),
`oom@cuda` (never enough on such a device), `oom_until=<path>` (not enough while there is no such file), `once` (only in
the first attempt, that is, when no window was saved before), `endless` (the last window again and again, until it is
told to stop), `hold@1` (wait before window 1 until it is told to stop; `hold@1=<path>` only while there is
no such file), `kill_server@0` (before window 0 the whole server ends, as when a task takes the machine's memory),
`hold_until=<path>` (wait while there is no such file),
`text=<percent-encoded>` (what every segment says). Once the text is there: `speakers_fail=<error code>`,
`speakers_hold` (look for them until it is told to stop), `speakers_abort` (kill the process while they are looked for),
`speakers_hold_until=<path>`.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import psutil

from errors import DeviceLostError, OutOfMemoryError, TaskError, error_class_of
from whisper_core.reference.sequential_engine import SequentialEngine
from whisper_core.text.transcript import Checkpoint, Segment, Transcript, WindowResult
from whisper_core.text.turns import Turn
from whisper_core.worker.engine_protocol import TaskObserver
from whisper_core.worker.messages import MemoryReport, RunTask

WINDOW_FRAMES = 3000
BYTES_PER_FRAME = 320  # 10 ms of 16 kHz s16
WEIGHTS_BYTES = 1_000_000
TASK_BYTES = 500_000
HELD_S = 0.02  # between two looks whether a task that waits was told to stop


class FakeEngine(SequentialEngine):
    """One task at a time, as ReferenceEngine."""

    title = "fake device"

    def __init__(self, device: str, cpu_threads: int) -> None:
        super().__init__()
        self._kind = device.partition(":")[0]
        self._resident: set[str] = set()
        self.slots_held: dict[str, int] = {}  # by model, as it was told
        self._hold = threading.Event()  # never set: waiting on it is a bounded sleep

    def load(self, model: str, models_dir: Path, slots: int = 0) -> int:
        self._resident.add(model)
        self.slots_held[model] = slots
        return WEIGHTS_BYTES

    def unload(self, model: str) -> None:
        self._resident.discard(model)

    def memory(self) -> MemoryReport:
        return MemoryReport(used=len(self._resident) * WEIGHTS_BYTES, peak=2 * WEIGHTS_BYTES)

    def task_peak_bytes(self) -> int:
        return TASK_BYTES

    def find_speakers(self, command: RunTask, on_progress: Callable[[float], None]) -> tuple[Turn, ...]:
        """Two people, or as many as are wanted, speak in turns of a window each."""
        knobs = knobs_of(command)
        on_progress(0.0)
        if "speakers_abort" in knobs:
            os.abort()
        if "speakers_fail" in knobs:
            raise error_class_of(knobs["speakers_fail"])()
        until = knobs.get("speakers_hold_until")
        while "speakers_hold" in knobs or (until is not None and not Path(until).exists()):
            self._hold.wait(HELD_S)
            on_progress(0.5)
        people = command.speakers.num_speakers if command.speakers else None
        windows = -(-Path(command.audio_path).stat().st_size // (WINDOW_FRAMES * BYTES_PER_FRAME))
        return tuple(Turn(30.0 * i, 30.0 * (i + 1), i % (people or 2)) for i in range(windows))

    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        task = FakeTask(command, self._hold, self._kind)
        while not task.is_done:
            if should_stop():
                return None
            if task.is_held:
                self._hold.wait(HELD_S)
                continue
            task.provoke()
            self._hold.wait(task.window_s)
            on_window(task.next_window())
        return task.transcript()


class ParallelFakeEngine(FakeEngine):
    """Up to `slots` tasks at once, a window of each in turn, as the batch engine; fewer when memory is short."""

    slots = 8

    def __init__(self, device: str, cpu_threads: int) -> None:
        super().__init__(device, cpu_threads)
        self._running: dict[str, tuple[FakeTask, TaskObserver]] = {}  # by lease token
        self._at_once = self.slots

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    def start(self, command: RunTask, observer: TaskObserver) -> None:
        if len(self._running) >= self.slots:
            raise AssertionError(f"task {command.task_id} was sent although {self.slots} run")
        if command.model not in self._resident:
            raise AssertionError(f"task {command.task_id} was sent before its model {command.model} was loaded")
        try:
            self._running[command.attempt_id] = FakeTask(command, self._hold, self._kind), observer
        except OSError as error:
            observer.failed(error)

    def advance(self) -> None:
        """One window of every task. They share the device: the slowest one's `window_s` passes for all."""
        self._hold.wait(max(HELD_S if task.is_held else task.window_s for task, _ in self._running.values()))
        self._shrink()
        for token, (task, observer) in list(self._running.items())[: self._at_once]:
            if len(self._running) > self._at_once:
                self._running[token] = self._running.pop(token)  # behind those that did not have their turn
            try:
                is_over = self._step(task, observer)
            except DeviceLostError as error:
                for _, other in self._running.values():
                    other.failed(error)
                self._running.clear()
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this task's
                observer.failed(error)
                is_over = True
            if is_over:
                del self._running[token]
        if not self._running:
            self._at_once = self.slots

    def _shrink(self) -> None:
        """As many at once as there is memory for, by halves."""
        most = max(1, min(task.most_at_once for task, _ in self._running.values()))
        while (in_flight := min(len(self._running), self._at_once)) > most:
            self._at_once = max(1, in_flight // 2)
            for _, observer in self._running.values():
                observer.note("memory", {"step": "batch_shrunk", "windows": in_flight, "slots": self._at_once})

    def _step(self, task: FakeTask, observer: TaskObserver) -> bool:
        """Whether the task has ended."""
        if observer.should_stop() or observer.should_preempt():
            observer.stopped()
            return True
        if not task.is_done and not task.is_held:
            task.provoke()
            observer.window(task.next_window())
        if task.is_done:
            observer.done(task.transcript(), TASK_BYTES)
        return task.is_done


class FakeTask:
    """One task's way through its windows. Raises OSError without its samples."""

    def __init__(self, command: RunTask, hold: threading.Event, device_kind: str) -> None:
        self._hold = hold
        self._device_kind = device_kind
        self._knobs = knobs_of(command)
        self._samples = Path(command.audio_path).read_bytes()
        self._content_frames = len(self._samples) // BYTES_PER_FRAME
        self._segments = list(command.segments)
        self._seek = command.resume.seek if command.resume else 0
        self._index = command.first_window
        self._is_armed = "once" not in self._knobs or command.resume is None
        self.window_s = float(self._knobs.get("window_s", "0"))

    @property
    def is_done(self) -> bool:
        return self._seek >= self._content_frames and "endless" not in self._knobs

    @property
    def is_held(self) -> bool:
        everywhere, here = self._knobs.get("hold_until"), self._knobs.get(f"hold@{self._index}")
        return self._is_armed and any(path is not None and not _exists(path) for path in (everywhere, here))

    @property
    def most_at_once(self) -> int:
        """Tasks that the device has memory for at a time, as far as this one says."""
        limits = (int(knob.removeprefix("oom>")) for knob in self._knobs if knob.startswith("oom>"))
        return min(limits, default=1_000_000) if self._is_armed else 1_000_000

    def provoke(self) -> None:
        """The fault that is due before the next window, if any."""
        if not self._is_armed:
            return
        if f"abort@{self._index}" in self._knobs:
            os.abort()
        if f"kill_server@{self._index}" in self._knobs:
            kill_server()
        if f"hang@{self._index}" in self._knobs:
            self._hold.wait(600)
        missing = self._knobs.get("oom_until")
        is_short = self.most_at_once == 0 or f"oom@{self._device_kind}" in self._knobs
        if is_short or (missing is not None and not Path(missing).exists()):
            raise OutOfMemoryError()
        if "fail" in self._knobs:
            error = error_class_of(self._knobs["fail"])
            raise error() if issubclass(error, TaskError) else TaskError()

    def next_window(self) -> WindowResult:
        end = min(self._seek + WINDOW_FRAMES, self._content_frames)
        segment = fake_segment(len(self._segments), self._seek, end, self._samples)
        if "text" in self._knobs:
            segment = replace(segment, text=unquote(self._knobs["text"]))
        self._segments.append(segment)
        self._seek = end
        window = WindowResult(self._index, (segment,), Checkpoint("en", end, self._content_frames))
        self._index += 1
        return window

    def transcript(self) -> Transcript:
        return Transcript("".join(segment.text for segment in self._segments), "en", tuple(self._segments))


def _exists(path: str) -> bool:
    return path != "" and Path(path).exists()


def knobs_of(command: RunTask) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in (command.options.initial_prompt or "").split())


def kill_server() -> None:
    """The master, so that nobody starts the web process again, then that, then this worker itself."""
    web = psutil.Process(os.getppid())
    for process in (web.parent(), web, psutil.Process()):
        if process is not None:
            process.kill()


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
