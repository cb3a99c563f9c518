"""A queue on a real database, short ways to fill it, and threads that act on it at the same moment."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optimizer.queue.ordering import FIRST_COME, DueTimes
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.queue.quotas import OwnerQuotas
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import ErrorInfo, NewTask, Priority, Task, TaskMemory, TaskOptions
from tests.optimizer.fakes import FakeClock
from whisper_core.text.transcript import Checkpoint, Segment, WindowResult

RETRY_DELAY_S = 10.0
THREADS = 8
OOM = ErrorInfo("out_of_memory", "The device ran out of memory.")

_boots = itertools.count()


def next_boot_id() -> str:
    """Of a server that was started by nobody knows whom."""
    return f"boot-{next(_boots)}"


class Queue:
    """The queue of one run of the server. `changed` collects the ids that it announced."""

    def __init__(
        self,
        data_dir: Path,
        clock: FakeClock,
        max_queued: int = 1000,
        due_times: DueTimes = FIRST_COME,
        quotas: OwnerQuotas | None = None,
    ) -> None:
        self.clock = clock
        self.changed: list[str] = []
        self.store = TaskStore(data_dir)
        try:
            self.store.open()
        except BaseException:
            self.store.close()
            raise
        self.boot_id = next_boot_id()
        self.manager = IntelligentQueueManager(
            self.store,
            clock,
            boot_id=self.boot_id,
            max_queued=max_queued,
            retry_delay=lambda attempt: RETRY_DELAY_S * attempt,
            on_change=self.changed.append,
            due_times=due_times,
            quotas=quotas,
        )
        try:
            self.report = self.manager.recover()
        except BaseException:
            self.store.close()
            raise

    def submit(self, task_id: str, **changes: object) -> Task:
        return self.manager.submit(new_task(task_id, **changes))[0]

    def claim(self, task_id: str, device: str = "cpu") -> Task:
        task = self.manager.claim(task_id, device, 1_000)
        assert task is not None
        return task

    def complete(self, task: Task, text: str = "Hello.") -> Task | None:
        return self.manager.complete(
            task.id,
            task.lease_token or "",
            language="en",
            text=text,
            result_sha256="f" * 64,
            memory=TaskMemory(800, 1000, 900),
        )

    def fail(self, task: Task, *, is_retryable: bool = True) -> Task | None:
        return self.manager.fail(task.id, task.lease_token or "", OOM, is_retryable=is_retryable)


@contextmanager
def running_queue(data_dir: Path, clock: FakeClock, max_queued: int = 1000) -> Iterator[Queue]:
    queue = Queue(data_dir, clock, max_queued)
    try:
        yield queue
    finally:
        queue.store.close()


def new_task(task_id: str, **changes: object) -> NewTask:
    given: dict[str, object] = {
        "filename": "interview.mp3",
        "options": TaskOptions(model="base"),
        "priority": Priority.NORMAL,
        "requested_device": "auto",
        "size_bytes": 1_000,
        "sha256": "0" * 64,
        "max_attempts": 3,
        "audio_seconds": 60.0,
    }
    return NewTask(id=task_id, **(given | changes))  # type: ignore[arg-type]


def window(index: int, of: int = 4, text: str = " Hello.") -> WindowResult:
    segment = Segment(
        id=index,
        seek=index * 3000,
        start=index * 30.0,
        end=index * 30.0 + 2.5,
        text=text,
        tokens=(50364, 2425, 13),
        temperature=0.0,
        avg_logprob=-0.25,
        compression_ratio=1.1,
        no_speech_prob=0.01,
    )
    return WindowResult(index, (segment,), Checkpoint("en", seek=(index + 1) * 3000, content_frames=of * 3000))


def ready_ids(queue: Queue) -> list[str]:
    return [task.id for task in sorted(queue.manager.waiting(), key=lambda task: (-task.priority, task.seq))]


def at_once(*actions: Callable[[], object]) -> list[Any]:
    """Runs each on a thread of its own, all released at the same moment. Returns their results or errors."""
    barrier = threading.Barrier(len(actions), timeout=10)
    results: list[Any] = [None] * len(actions)

    def run(index: int, action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            results[index] = action()
        except Exception as error:  # noqa: BLE001 - handed to the test
            results[index] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return results
