"""What one task leaves in the database and on the disk: made-up tasks through the real queue, store and files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select, text

from benchmarks.load.filling import made_up_text
from optimizer.common.boot import new_boot_id
from optimizer.common.clock import SystemClock
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.storage.schema import metadata
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import NewTask, Priority, TaskMemory, TaskOptions
from whisper_core.common.units import WINDOW_SECONDS
from whisper_core.text.transcript import Checkpoint, Segment, Transcript, WindowResult

SEGMENT_SECONDS = 5.0
WORDS_PER_SEGMENT = 12  # 144 a minute, as people speak
TOKENS_PER_SEGMENT = 17  # 100 in a window
FRAMES_PER_WINDOW = 3000


@dataclass(frozen=True)
class StoreCosts:
    """Means over the tasks."""

    database: str
    tasks: int
    audio_seconds: float  # of each
    transactions: float  # per task, when none is committed with another one's
    cpu_ms: float  # per task, in the process that has the store, for all of them and the transcript
    seconds: float  # per task, by the clock, one task after the other
    rows: dict[str, float]  # per task once it is completed, by table
    window_rows: int  # per task while it runs
    running_bytes: float  # what the database has grown by per task while they run, before any is completed
    database_bytes: float  # and once they are completed
    transcript_bytes: float  # of the file


def measure(folder: Path, url: str = "", tasks: int = 1000, audio_seconds: float = 240.0) -> StoreCosts:
    """url: of an empty PostgreSQL database; empty for SQLite in the folder, which has to be empty, too."""
    store, files = TaskStore(folder, url), TaskFiles(folder)
    store.open()
    try:
        files.make_folders()
        queue = IntelligentQueueManager(
            store, SystemClock(), boot_id=new_boot_id(), max_queued=tasks + 1, on_change=lambda _: None
        )
        queue.recover()
        windows = made_up_windows(audio_seconds)
        empty = _database_bytes(store, bool(url))
        began, cpu_began = time.perf_counter(), time.process_time()
        tokens = [_run(queue, f"task{number:08}", audio_seconds, windows) for number in range(tasks)]
        cpu_s, seconds = time.process_time() - cpu_began, time.perf_counter() - began
        running = _database_bytes(store, bool(url))
        began, cpu_began = time.perf_counter(), time.process_time()
        for task_id, token in tokens:
            _complete(queue, files, task_id, token, windows)
        cpu_s, seconds = cpu_s + time.process_time() - cpu_began, seconds + time.perf_counter() - began
        return StoreCosts(
            database="PostgreSQL" if url else "SQLite",
            tasks=tasks,
            audio_seconds=audio_seconds,
            transactions=4 + len(windows),
            cpu_ms=1000 * cpu_s / tasks,
            seconds=seconds / tasks,
            rows={name: count / tasks for name, count in _rows(store).items() if count >= tasks},
            window_rows=len(windows),
            running_bytes=(running - empty) / tasks,
            database_bytes=(_database_bytes(store, bool(url)) - empty) / tasks,
            transcript_bytes=sum(files.transcript_path(task_id).stat().st_size for task_id, _ in tokens) / tasks,
        )
    finally:
        store.close()


def made_up_windows(audio_seconds: float) -> list[WindowResult]:
    """Windows full of speech, in segments of a sentence each."""
    count = int(audio_seconds // WINDOW_SECONDS)
    per_window = int(WINDOW_SECONDS // SEGMENT_SECONDS)
    return [
        WindowResult(
            window,
            tuple(_segment(window * per_window + place) for place in range(per_window)),
            Checkpoint("en", (window + 1) * FRAMES_PER_WINDOW, count * FRAMES_PER_WINDOW),
        )
        for window in range(count)
    ]


def _segment(number: int) -> Segment:
    start = number * SEGMENT_SECONDS
    return Segment(
        id=number, seek=int(start // WINDOW_SECONDS) * FRAMES_PER_WINDOW, start=start, end=start + SEGMENT_SECONDS,
        text=f" {made_up_text(number, WORDS_PER_SEGMENT - 2)}.", tokens=tuple(range(2000, 2000 + TOKENS_PER_SEGMENT)),
        temperature=0.0, avg_logprob=-0.2531187, compression_ratio=1.3461538, no_speech_prob=0.0123456,
    )  # fmt: skip


def _run(
    queue: IntelligentQueueManager, task_id: str, audio_seconds: float, windows: list[WindowResult]
) -> tuple[str, str]:
    """Up to the last window. Returns the task's id and its lease token."""
    queue.submit(
        NewTask(
            id=task_id, filename=f"{task_id}.mp3", options=TaskOptions(model="base"), priority=Priority.NORMAL,
            requested_device="auto", size_bytes=int(audio_seconds * 12_000), sha256=f"{task_id:0>64}", max_attempts=3,
            owner=f"owner{int(task_id[4:]) % 100}",
        )
    )  # fmt: skip
    queue.mark_prepared(task_id, audio_seconds)
    claimed = queue.claim(task_id, "cuda:0", 1_000_000_000)
    if claimed is None or claimed.lease_token is None:
        raise RuntimeError(f"{task_id} could not be claimed")
    for window in windows:
        queue.save_window(task_id, claimed.lease_token, window)
    return task_id, claimed.lease_token


def _complete(
    queue: IntelligentQueueManager, files: TaskFiles, task_id: str, lease_token: str, windows: list[WindowResult]
) -> None:
    segments = tuple(segment for window in windows for segment in window.segments)
    whole = Transcript("".join(segment.text for segment in segments), "en", segments)
    sha256 = files.write_transcript(task_id, whole)
    memory = TaskMemory(800_000_000, 1_000_000_000, 900_000_000)
    queue.complete(task_id, lease_token, language="en", text=whole.text, result_sha256=sha256, memory=memory)


def _rows(store: TaskStore) -> dict[str, int]:
    with store.database.reading() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


def _database_bytes(store: TaskStore, is_postgresql: bool) -> int:
    size = (
        "pg_database_size(current_database())"
        if is_postgresql
        else "(page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    )
    with store.database.reading() as connection:
        return int(connection.execute(text(f"SELECT {size}")).scalar_one())
