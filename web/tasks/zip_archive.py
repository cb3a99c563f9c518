"""Many transcripts in one zip, written while it is sent: with one transcript in memory and no file on the disk."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, cast

from errors import FileMissingError, TaskNotFoundError
from optimizer.tasks.task import Task, TaskFilter, TaskStatus
from web.http.task_access import TaskAccess
from web.tasks.filenames import MemberNames
from web.tasks.rendering import file_extension, render_transcript

log = logging.getLogger(__name__)

PAGE_SIZE = 200
MISSING_NAME = "_missing.txt"
_EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def completed_tasks(own: TaskAccess) -> Iterator[Task]:
    """Every completed task of those that may be seen, a page at a time."""
    cursor: str | None = None
    while True:
        views, cursor, _ = own.tasks(TaskFilter(status=TaskStatus.COMPLETED, limit=PAGE_SIZE, cursor=cursor))
        yield from (view.task for view in views)
        if cursor is None:
            return


def zip_transcripts(own: TaskAccess, tasks: Iterable[Task], transcript_format: str) -> Iterator[bytes]:
    """The archive's bytes. A transcript that no longer exists is named in `_missing.txt` instead."""
    sink, names, missing = _Sink(), MemberNames(), []
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for task in tasks:
            try:
                transcript, _ = own.transcript(task.id)
            except (FileMissingError, TaskNotFoundError) as error:
                log.warning("task=%s event=not_in_archive code=%s", task.id, error.code)
                missing.append(task.filename)
                continue
            mode = task.options.mode
            member = _member(names.unique_name(task.filename, file_extension(transcript_format, mode)), task)
            archive.writestr(member, render_transcript(transcript, transcript_format, mode=mode))
            yield sink.drain()
        if missing:
            archive.writestr(zipfile.ZipInfo(MISSING_NAME, _EARLIEST_ZIP_TIME), "\n".join(missing) + "\n")
    yield sink.drain()


def _member(name: str, task: Task) -> zipfile.ZipInfo:
    moment = task.finished_at or task.created_at
    member = zipfile.ZipInfo(name, max(moment.timetuple()[:6], _EARLIEST_ZIP_TIME))
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o600 << 16  # unpacked as a regular file that only its owner can read
    return member


class _Sink:
    """The file that ZipFile writes to. It has no `seek`, so ZipFile puts the sizes after the data."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        return

    def drain(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data
