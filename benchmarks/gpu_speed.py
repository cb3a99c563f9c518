"""Speed of the batch engine with models of any dimensions, whose weights are random (see random_model.py).

No profiler has been in the process, since its tracing stays attached and slows every launch. Models are loaded and have
transcribed something before the clock starts, so no graph is captured in the measured time. Idle times come from a
run of their own, whose passes are timed by events.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from whisper.model import Whisper

from benchmarks.child_process import Sound
from benchmarks.gpu_models import new_engine, random_one
from benchmarks.gpu_part import Cell, Part
from benchmarks.gpu_timeline import Timeline, idle_shares, passes_in, steady_range
from benchmarks.measurement import Measurement
from benchmarks.random_model import OPTIONS, PROMPT, loaded_from_memory
from benchmarks.recordings import SAMPLE_RATE
from benchmarks.run_engine import BATCH_ENGINE, measure
from benchmarks.samples import read_samples
from whisper_core.worker.engine_protocol import Engine

WINDOW_S = 30
WINDOWS = 8  # of a task
COUNTS = (64, 16, 1, 32)  # what has a goal comes first, should the time run out
RUNS = 2
UPSTREAM_WINDOWS = 2
TRIAL_WINDOWS, TRIAL_COUNTS = 2, (2, 1)
DIFFERENT_SOUNDS = 8
GOALS = {"turbo": (5000, 600), "large-v3": (1900, 150)}  # times real time with the most tasks, and with one
SHARE_OF_16, MOST_IDLE = 70, 10  # %, of the speed with the most tasks, and of the time
SPEEDS = f"Speed: tasks of {WINDOWS} windows, 100 tokens each, random weights"


def measure_speeds(part: Part) -> None:
    for name in part.models:
        if not part.budget.allows(30):
            part.report.left_out(f"the speed of {name}")
            continue
        SpeedOf(part, name).measure()


class SpeedOf:
    """One model."""

    def __init__(self, part: Part, name: str) -> None:
        self._part = part
        self._name = name
        self._windows = TRIAL_WINDOWS if part.is_trial else WINDOWS
        self._counts: tuple[int, ...] = TRIAL_COUNTS if part.is_trial else COUNTS
        self._sounds = noises(part.scratch, max(self._counts), self._windows)
        self._best: dict[int, float] = {}  # times real time, by tasks
        self._idle: float | None = None  # %, at most, of the steady part with the most tasks

    def measure(self) -> None:
        part, name = self._part, self._name
        model = random_one(part, name)
        upstream = self._measure_upstream(model)
        timeline = Timeline(part.is_trial)
        with passes_in(timeline, part.is_trial), loaded_from_memory(BATCH_ENGINE, {name: model}):
            engine = new_engine(part)
            engine.load(name, part.scratch)
            del model
            measure(engine, name, noises(part.scratch, max(self._counts), 1), OPTIONS)
            for number in range(1, RUNS + 1):
                for count in self._counts:
                    self._measure(engine, count, number, upstream)
            for count in self._counts:
                self._measure_idle(engine, count, timeline)
            engine.unload(name)
            engine.close()
        self._compare_with_goals()

    def _measure_upstream(self, model: Whisper) -> float:
        """Times real time of `whisper.transcribe` with the same tokens to say."""
        (sound,) = noises(self._part.scratch, 1, UPSTREAM_WINDOWS)
        samples = read_samples(sound.samples)
        options = {"language": "en", "temperature": 0.0, "initial_prompt": PROMPT, "fp16": not self._part.is_trial}
        model.transcribe(samples[: WINDOW_S * SAMPLE_RATE], **options)  # chooses kernels
        began = time.perf_counter()
        model.transcribe(samples, **options)
        speed = len(samples) / SAMPLE_RATE / (time.perf_counter() - began)
        about: dict[str, Cell] = {"": f"{self._name}, openai-whisper", "tasks": 1, "run": 1, "× real time": speed}
        self._row(SPEEDS, {**about, "× openai-whisper": 1.0, **work_of(Measurement(0.0, {}, 0))})
        return speed

    def _measure(self, engine: Engine, count: int, number: int, upstream: float) -> None:
        if not self._part.budget.allows(2 * self._seconds_of(count)):
            self._part.report.left_out(f"{self._name}, {count} tasks, run {number}")
            return
        run = measure(engine, self._name, self._sounds[:count], OPTIONS)
        speed = self._speed(count, run)
        self._best[count] = max(speed, self._best.get(count, 0.0))
        about: dict[str, Cell] = {"": self._name, "tasks": count, "run": number, "× real time": speed}
        self._row(SPEEDS, {**about, "× openai-whisper": speed / upstream, **work_of(run)})

    def _measure_idle(self, engine: Engine, count: int, timeline: Timeline) -> None:
        """Between a run's first call and its last transcript, and in the part in which most slots are in use."""
        if not self._part.budget.allows(2 * self._seconds_of(count)):
            self._part.report.left_out(f"the idle time of {self._name} with {count} tasks")
            return
        with timeline.recording() as runs:
            run = measure(engine, self._name, self._sounds[:count], OPTIONS)
        speed = self._speed(count, run)
        whole, steady = idle_shares(runs, (0.0, run.seconds)), idle_shares(runs, steady_range(runs))
        if count == max(self._counts):
            self._idle = 100 * steady.most
        self._row(
            "Idle: time in which no pass was at work on either stream, by events around each of them",
            {
                "": self._name,
                "tasks": count,
                "× real time": speed,
                "slowed down by recording, %": 100 * (1 - speed / self._best[count]) if self._best.get(count) else None,
                "whole, at least, %": 100 * whole.least,
                "at most, %": 100 * whole.most,
                "steady, at least, %": 100 * steady.least,
                "steady, at most, %": 100 * steady.most,
                "steady, s": steady_range(runs)[1] - steady_range(runs)[0],
            },
        )

    def _compare_with_goals(self) -> None:
        many, one = max(self._counts), self._best.get(1)
        most, middle = self._best.get(many), self._best.get(16)
        wanted_of_many, wanted_of_one = GOALS.get(self._name, (None, None))
        self._row(
            "What is reached, the better of two runs",
            {
                "": self._name,
                f"{many} tasks": most,
                "wanted": wanted_of_many,
                "16 tasks of that, %": 100 * middle / most if middle and most else None,
                "wanted, %": SHARE_OF_16,
                "1 task": one,
                "wanted of 1": wanted_of_one,
                "idle, %": self._idle,
                "wanted below, %": MOST_IDLE,
            },
        )

    def _seconds_of(self, count: int) -> float:
        """About as long as a run takes: as if twice as many tasks took twice the time."""
        if not self._best:
            return 10.0
        known = min(self._best, key=lambda other: abs(other - count))
        return count * self._windows * WINDOW_S / self._best[known]

    def _speed(self, count: int, run: Measurement) -> float:
        return count * self._windows * WINDOW_S / run.seconds

    def _row(self, title: str, cells: dict[str, Cell]) -> None:
        self._part.report.row(title, cells)


def work_of(run: Measurement) -> dict[str, Cell]:
    return {
        "windows/s": run.windows / run.seconds if run.windows else None,
        "tokens/window": run.tokens / run.windows if run.tokens and run.windows else None,
        "slots in use, %": None if run.occupancy is None else 100 * run.occupancy,
    }


def noises(folder: Path, count: int, windows: int) -> Sequence[Sound]:
    """Recordings of so many windows; a few that differ, again and again."""
    return [
        Sound(f"{number}-{windows}", str(noise(folder, windows, number % DIFFERENT_SOUNDS))) for number in range(count)
    ]


def noise(folder: Path, windows: int, seed: int) -> Path:
    path = folder / f"noise-{windows}-{seed}.pcm"
    if not path.exists():
        samples = np.random.default_rng(seed).integers(
            -2000, 2000, size=windows * WINDOW_S * SAMPLE_RATE, dtype=np.int16
        )
        path.write_bytes(samples.tobytes())
    return path
