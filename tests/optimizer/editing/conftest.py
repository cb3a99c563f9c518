from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from optimizer.editing.wiring import build_editor
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event, EventBus
from optimizer.tasks.task import Task, TaskMemory
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue
from tests.whisper_core.editing.texts import segment
from whisper_core.text.transcript import Transcript

ORIGINAL = Transcript(
    " Hello teh world. How are you? I am fine.",
    "en",
    (segment(0, 0, 4, " Hello teh world."), segment(1, 4, 8, " How are you?"), segment(2, 10, 12, " I am fine.")),
)


class Desk:
    """One run of a server whose transcripts are changed."""

    def __init__(self, queue: Queue, data_dir: Path, clock: FakeClock) -> None:
        self.queue = queue
        self.clock = clock
        self.files = TaskFiles(data_dir)
        self.files.make_folders()
        self.told: list[Event] = []
        events = EventBus()
        events.add_listener(self.told.append)
        self.editor = build_editor(queue.store, self.files, clock, events)

    def add_completed(self, task_id: str = "a", transcript: Transcript = ORIGINAL, **changes: object) -> Task:
        self.queue.submit(task_id, **changes)
        task = self.queue.claim(task_id)
        completed = self.queue.manager.complete(
            task_id,
            task.lease_token or "",
            language="en",
            text=transcript.text,
            result_sha256=self.files.write_transcript(task_id, transcript),
            memory=TaskMemory(800, 1000, 900),
        )
        assert completed is not None
        return completed

    def text(self, task_id: str = "a") -> str:
        edited = self.editor.edited(self.queue.manager.get(task_id))
        return "" if edited is None else edited.text


RunDesk = Callable[[], Desk]


@pytest.fixture
def run_desk(tmp_path: Path) -> Iterator[RunDesk]:
    """Starts the server, again if it ran: what the last run had in memory is lost."""
    runs: list[AbstractContextManager[Queue]] = []

    def run() -> Desk:
        while runs:
            runs.pop().__exit__(None, None, None)
        clock = FakeClock()
        running = running_queue(tmp_path, clock)
        runs.append(running)
        return Desk(running.__enter__(), tmp_path, clock)

    yield run
    for running in runs:
        running.__exit__(None, None, None)


@pytest.fixture
def desk(run_desk: RunDesk) -> Desk:
    return run_desk()
