"""Gives recordings to a transcriber and writes their transcripts as they are completed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cli.output import Output, Source
from cli.progress import ProgressBars
from cli.transcriber import CannotStartError, Options, RefusedError, TaskProgress, Transcriber
from errors import DiskFullError
from optimizer.tasks.task import TaskStatus
from whisper_core.text.writer_options import WriterOptions

MAX_UNDER_WAY = 32  # tasks at a time: enough for every device, without a copy of a whole archive on the disk


@dataclass(frozen=True)
class Wanted:
    """What is the same for all recordings of one command."""

    options: Options
    formats: Sequence[str]
    writer: WriterOptions


class Transcription:
    """Runs once, in one thread. Whatever ends it early, tasks that have not ended are cancelled."""

    def __init__(
        self,
        transcriber: Transcriber,
        wanted: Wanted,
        output: Output,
        bars: ProgressBars,
        *,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._transcriber = transcriber
        self._wanted = wanted
        self._output = output
        self._bars = bars
        self._wait = wait
        self._under_way: dict[str, Source] = {}  # by task
        self._fractions: dict[str, float] = {}
        self.num_failed = 0

    def run(self, sources: Sequence[Source]) -> None:
        """Raises RefusedError for options that no recording can be transcribed with, and CannotStartError."""
        waiting = list(reversed(sources))
        try:
            while waiting or self._under_way:
                while waiting and len(self._under_way) < MAX_UNDER_WAY:
                    self._submit(waiting.pop())
                    self._look()
                if self._under_way:
                    self._wait(self._transcriber.poll_s)
                    self._look()
        finally:
            self._cancel_rest()

    def _submit(self, source: Source) -> None:
        try:
            task_id = self._transcriber.submit(source.path, source.filename, self._wanted.options)
        except RefusedError as error:
            if error.is_about_options:
                raise
            self._fail(source, str(error))
        else:
            self._under_way[task_id] = source

    def _look(self) -> None:
        for task_id, source in list(self._under_way.items()):
            try:
                now = self._transcriber.progress(task_id)
            except RefusedError as error:  # such as a task that somebody deleted
                self._end(task_id)
                self._fail(source, str(error))
                continue
            if now.status.is_final:
                self._end(task_id)
                self._finish(task_id, source, now)
            elif now.status is TaskStatus.PROCESSING:
                self._fractions[task_id] = now.fraction
                self._bars.show(source.name, now.fraction)
        self._bars.show_all(sum(self._fractions.values()))

    def _finish(self, task_id: str, source: Source, now: TaskProgress) -> None:
        if now.status is not TaskStatus.COMPLETED:
            was_cancelled = now.status is TaskStatus.CANCELLED
            self._fail(source, "It was cancelled." if was_cancelled else now.problem or "It failed.")
            return
        try:
            for format in self._wanted.formats:
                content = self._transcriber.transcript(task_id, format, self._wanted.writer)
                self._output.write(source, format, content)
        except (RefusedError, DiskFullError) as error:
            self._fail(source, str(error))
        except BrokenPipeError:
            raise
        except OSError as error:
            self._fail(source, f"The transcript cannot be written: {error.strerror or error}.")
        else:
            self._bars.end(source.name)
            for warning in now.warnings:
                self._bars.say(f"{source.name}: {warning}")

    def _fail(self, source: Source, problem: str) -> None:
        self.num_failed += 1
        self._bars.end(source.name)
        self._bars.say(f"{source.name}: {problem}")
        self._output.skip(source)

    def _end(self, task_id: str) -> None:
        del self._under_way[task_id]
        self._fractions.pop(task_id, None)

    def _cancel_rest(self) -> None:
        for task_id in self._under_way:
            with suppress(RefusedError, CannotStartError):
                self._transcriber.cancel(task_id)
