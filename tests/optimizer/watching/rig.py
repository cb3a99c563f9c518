"""A watched folder with a real database and real files; tasks end when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config import Settings
from errors import UnsupportedMediaError
from optimizer.intake.admission import Admission
from optimizer.intake.task_intake import SubmissionRequest
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import TaskChanged, TaskDeleted
from optimizer.tasks.task import NewTask, Task, TaskFilter, TaskMemory, TaskStatus
from optimizer.watching.deliveries import Tasks
from optimizer.watching.taker import Intake
from optimizer.watching.watcher import FolderWatcher
from optimizer.watching.wiring import build_watcher
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue
from whisper_core.models.registry import ModelRegistry
from whisper_core.text.transcript import Segment, Transcript
from whisper_core.text.turns import Turn

BAD = b"no sound"


class CrashError(BaseException):
    """Stands for a kill: nothing that comes after it is done."""


@dataclass
class WithoutDecoding:
    """Stands for TaskIntake."""

    queue: Queue

    def accept(self, upload: Any, request: SubmissionRequest) -> None:
        if upload.size < 100 and BAD in upload_content(upload):
            upload.discard()
            raise UnsupportedMediaError()
        upload.commit()
        self.queue.manager.submit(
            NewTask(
                id=upload.task_id, filename=request.filename, options=request.options, priority=request.priority,
                requested_device=request.device, size_bytes=upload.size, sha256=upload.sha256, max_attempts=1,
                audio_seconds=1.0, owner=request.owner,
            )
        )  # fmt: skip


def upload_content(upload: Any) -> bytes:
    upload.seek(0)
    return bytes(upload.read())


@dataclass
class Rig:
    root: Path
    clock: FakeClock
    make_settings: Callable[..., Settings]
    values: dict[str, Any] = field(default_factory=dict)
    max_queued: int = 1000

    def __post_init__(self) -> None:
        self.folder = self.root / "in"
        self.folder.mkdir(exist_ok=True)
        self.files = TaskFiles(self.root / "data")
        self.files.make_folders()
        self.queue = Queue(self.root / "data", self.clock)
        self.start()

    def start(self, **values: Any) -> None:
        """A server's start, on what an earlier one has left."""
        self.values |= values
        settings = self.make_settings(
            watch_dir=str(self.folder), default_model="tiny.en", max_queued_tasks=self.max_queued, **self.values
        )
        manager = self.queue.manager
        admission = Admission(
            settings, self.files, manager.counts, lambda *_: None, lambda: ["cpu"], lambda: True, lambda: None,
            ModelRegistry(settings.models_dir),
        )  # fmt: skip
        intake: Any = WithoutDecoding(self.queue)
        watcher = build_watcher(
            settings,
            self.clock,
            self.queue.store.database,
            Tasks(manager, self.files, manager.cancel, self.delete),
            Intake(admission, self.files, intake, lambda: ["cpu"], lambda: "tiny.en"),
        )
        assert watcher is not None
        self.watcher: FolderWatcher = watcher

    def put(self, path: str, content: bytes = b"sound") -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def look(self, times: int = 1) -> None:
        """Looks so many times, each after everything there has settled."""
        for _ in range(times):
            self.clock.advance(60)
            self.watcher.run_due()

    def tasks(self, status: TaskStatus | None = None) -> list[Task]:
        return list(reversed(self.queue.manager.page(TaskFilter(status=status, limit=200)).tasks))

    def complete(self, task: Task, turns: tuple[Turn, ...] | None = None) -> None:
        text = f" Of {task.sha256[:8]}."
        segments = (Segment(0, 0, 0.0, 1.0, text, (), 0.0, -0.1, 1.0, 0.1),)
        sha256 = self.files.write_transcript(task.id, Transcript(text, "en", segments, turns=turns))
        token = self.queue.claim(task.id).lease_token or ""
        memory = TaskMemory(1, 1, 1)
        self.queue.manager.complete(task.id, token, language="en", text=text, result_sha256=sha256, memory=memory)
        self.tell(task)

    def fail(self, task: Task) -> None:
        self.queue.fail(self.queue.claim(task.id), is_retryable=False)
        self.tell(task)

    def tell(self, task: Task) -> None:
        self.watcher.on_event(TaskChanged(task.id))

    def complete_all(self) -> None:
        for task in self.tasks(TaskStatus.PENDING):
            self.complete(task)
        self.watcher.run_due()

    def delete(self, task_id: str, owner: str = "") -> None:
        self.files.delete(task_id)
        self.queue.manager.delete(task_id)
        self.watcher.on_event(TaskDeleted(task_id))

    def names(self, folder: str = "") -> list[str]:
        """What is there, below any folder."""
        root = self.folder / folder
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
