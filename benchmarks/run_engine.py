"""A contender's process: this project's engine, driven as its worker drives it, without the server around it.

python -m benchmarks.run_engine MODEL MODELS_DIR [--device cuda:0] [--engine MODULE:CLASS]
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.child_process import Request, Sound, forget_peak, peak_bytes, serve
from benchmarks.measurement import Measurement, Text
from whisper_core.engine.statistics import EngineStatistics
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.worker.engine_protocol import Engine
from whisper_core.worker.messages import RunTask

BATCH_ENGINE = "whisper_core.engine.batch_engine:BatchEngine"


class Observer:
    """One task's outcome. See engine_protocol.TaskObserver."""

    def __init__(self) -> None:
        self.windows: list[WindowResult] = []
        self.transcript: Transcript | None = None
        self.error: Exception | None = None
        self.has_ended = False

    def window(self, window: WindowResult) -> None:
        self.windows.append(window)

    def should_stop(self) -> bool:
        return False

    def should_preempt(self) -> bool:
        return False

    def note(self, code: str, data: dict[str, int | float | str]) -> None:
        """What the engine does for lack of memory is in its log."""

    def done(self, transcript: Transcript, peak_bytes: int) -> None:
        self.transcript = transcript
        self.has_ended = True

    def stopped(self) -> None:
        self.has_ended = True

    def failed(self, error: Exception) -> None:
        self.error = error
        self.has_ended = True

    def result(self) -> Transcript:
        """Raises the task's own error."""
        if self.transcript is None:
            raise self.error or RuntimeError("the engine stopped a task although nobody asked it to")
        return self.transcript


def drive(engine: Engine, commands: Sequence[RunTask]) -> list[Observer]:
    """Run them all, as many at the same time as the engine has slots; observers in the commands' order."""
    observers = [Observer() for _ in commands]
    waiting = deque(zip(commands, observers, strict=True))
    running: list[Observer] = []
    while waiting or engine.is_busy:
        running = [observer for observer in running if not observer.has_ended]
        while waiting and len(running) < engine.slots:
            command, observer = waiting.popleft()
            engine.start(command, observer)
            running.append(observer)
        engine.advance()
    return observers


def commands_for(
    model: str, sounds: Sequence[Sound], options: TranscribeOptions | Sequence[TranscribeOptions]
) -> list[RunTask]:
    each = [options] * len(sounds) if isinstance(options, TranscribeOptions) else options
    return [
        RunTask(sound.name, "benchmark", model, sound.samples, own) for sound, own in zip(sounds, each, strict=True)
    ]


def measure(
    engine: Engine, model: str, sounds: Sequence[Sound], options: TranscribeOptions | Sequence[TranscribeOptions]
) -> Measurement:
    """One run. options: of all, or of each. What the engine counts comes from its `statistics`; ReferenceEngine keeps
    none."""
    before = statistics_of(engine)
    forget_peak()
    began = time.perf_counter()
    observers = drive(engine, commands_for(model, sounds, options))
    seconds = time.perf_counter() - began
    texts = {
        sound.name: Text.from_transcript(each.result().to_dict()) for sound, each in zip(sounds, observers, strict=True)
    }
    windows = sum(len(observer.windows) for observer in observers)
    plain = Measurement(seconds, texts, peak_bytes(), windows=windows)
    after = statistics_of(engine)
    return plain if before is None or after is None else replace(plain, **counted_between(before, after))


def statistics_of(engine: Engine) -> EngineStatistics | None:
    """As they are now; None where the engine keeps none."""
    statistics: EngineStatistics | None = getattr(engine, "statistics", None)
    return None if statistics is None else replace(statistics)


def counted_between(before: EngineStatistics, after: EngineStatistics) -> dict[str, Any]:
    """Figures of one run, from the engine's statistics before and after it."""
    steps, windows = after.steps - before.steps, after.step_windows - before.step_windows
    return {
        "windows": after.windows - before.windows,
        "tokens": after.tokens - before.tokens,
        "fallbacks": after.fallbacks - before.fallbacks,
        "occupancy": windows / (steps * after.slots) if steps else None,
    }


def make_engine(path: str, device: str) -> Engine:
    """path: MODULE:CLASS of a factory called as (device, cpu_threads); 0 threads: one per core."""
    module, _, name = path.partition(":")
    engine: Engine = getattr(import_module(module), name)(device, 0)
    return engine


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--engine", default=BATCH_ENGINE)
    options = parser.parse_args()
    engine = make_engine(options.engine, options.device)
    engine.load(options.model, options.models_dir)

    def answer(request: Request) -> Measurement:
        return measure(engine, options.model, request.recordings, TranscribeOptions(mode=request.mode))  # type: ignore[arg-type]

    serve(answer)


if __name__ == "__main__":
    main()
