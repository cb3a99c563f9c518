"""Tasks that are there before the server starts, written straight into its data folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, select, update
from ulid import ULID

from benchmarks.load.server import MODEL
from benchmarks.load.sounds import BYTES_PER_SECOND, wav
from optimizer.storage import mapping, search_index
from optimizer.storage.schema import arrivals, task_texts, tasks
from optimizer.storage.search_index import SearchedText
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import NewTask, Priority, TaskOptions

AT_ONCE = 5_000
MOST_NAMES = 30_000  # of one file; some file systems allow 65,000
NO_DEVICE = "cuda:9"  # a device that is not there, so that the task waits
_WORDS = (
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "box",
    "quietly",
    "nobody",
)


def fill(
    data_dir: Path, count: int, *, device: str = NO_DEVICE, owners: int = 20, samples: bytes = b"", url: str = ""
) -> list[str]:
    """Waiting tasks and their ids, in order of arrival. owners: who sent them, in turn. url: as DATABASE_URL.

    Each has a recording of a second of silence, which the server decodes ahead for the next ones; or, where samples are
    given (16 kHz mono int16), these as its recording's, so that it can start at once.
    """
    now = datetime.now(UTC)
    seconds = len(samples) / BYTES_PER_SECOND if samples else None
    ids = [str(ULID()) for _ in range(count)]
    rows = [
        {**_row(seq + 1, task_id, now, device, seconds), "owner": f"owner{seq % owners}"}
        for seq, task_id in enumerate(ids)
    ]
    _insert(data_dir, rows, lambda row: str(row["filename"]), url)
    files = TaskFiles(data_dir)
    files.make_folders()
    _write_recordings(files, ids, wav(samples or bytes(BYTES_PER_SECOND)))
    for task_id in ids if samples else ():
        files.audio_path(task_id).write_bytes(samples)
    return ids


def _write_recordings(files: TaskFiles, ids: Sequence[str], recording: bytes) -> None:
    """As one file under many names, because only the names count here."""
    for place, task_id in enumerate(ids):
        first = files.media_path(ids[place - place % MOST_NAMES])
        if place % MOST_NAMES:
            os.link(first, files.media_path(task_id))
        else:
            first.write_bytes(recording)


def fill_completed(data_dir: Path, count: int, words: int = 150) -> None:
    """Completed tasks with texts for the search, each of them different; their files are left out."""
    now = datetime.now(UTC)
    rows = [
        {**_row(seq, str(ULID()), now, "auto", 60.0), "status": "completed", "progress": 1.0}
        for seq in range(1, count + 1)
    ]
    _insert(data_dir, rows, lambda row: f"{row['filename']}\n{made_up_text(int(str(row['seq'])), words)}")


def _insert(
    data_dir: Path, rows: list[dict[str, object]], text_of: Callable[[dict[str, object]], str], url: str = ""
) -> None:
    data_dir.mkdir(parents=True, exist_ok=True)
    store = TaskStore(data_dir, url)
    store.open()
    with store.database.writing() as connection:
        for part in _parts(rows):
            connection.execute(insert(tasks), part)
            texts = [{"task_id": row["id"], "folded_text": mapping.folded(text_of(row))} for row in part]
            connection.execute(insert(task_texts), texts)
            ids = [row["id"] for row in part]
            made = connection.execute(select(tasks).where(tasks.c.id.in_(ids)))
            search_index.write(connection, [SearchedText(mapping.task_from_row(row), None) for row in made.all()])
        connection.execute(update(arrivals).values(last_seq=len(rows)))
    store.close()


def _parts(rows: list[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    for begin in range(0, len(rows), AT_ONCE):
        yield rows[begin : begin + AT_ONCE]


def _row(seq: int, task_id: str, now: datetime, device: str, seconds: float | None) -> dict[str, object]:
    new = NewTask(
        id=task_id, filename=f"recording-{seq}.mp3", options=TaskOptions(model=MODEL, language="en"),
        priority=list(Priority)[seq % 3], requested_device=device, size_bytes=1_000_000, sha256="0" * 64,
        max_attempts=4, audio_seconds=float(10 + seq % 997) if seconds is None else seconds,
    )  # fmt: skip
    return mapping.task_to_row(mapping.new_task(new, seq, now))


def made_up_text(seq: int, words: int) -> str:
    return " ".join(_WORDS[(seq * 7 + place * place) % len(_WORDS)] for place in range(words)) + f" number {seq}"
