"""Many transcripts in one zip, written while it is sent: with one transcript in memory and no file on the disk."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, cast

from errors import FileMissingError, TaskNotFoundError
from optimizer.common.filenames import MemberNames
from optimizer.tasks.task import Task, TaskFilter, TaskStatus
from optimizer.views.rendering import file_extension, render_transcript_of
from web.http.task_access import TaskAccess
from whisper_core.text.formats import FORMATS
from whisper_core.text.transcript import Transcript
from whisper_core.text.writer_options import PLAIN, WriterOptions

log = logging.getLogger(__name__)

PAGE_SIZE = 200
MISSING_NAME = "_missing.txt"
WORDLESS_NAME = "_without_word_timestamps.txt"
_EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def completed_tasks(own: TaskAccess) -> Iterator[Task]:
    """Every completed task of those that may be seen, a page at a time."""
    cursor: str | None = None
    while True:
        views, cursor, _ = own.tasks(TaskFilter(status=TaskStatus.COMPLETED, limit=PAGE_SIZE, cursor=cursor))
        yield from (view.task for view in views)
        if cursor is None:
            return


def zip_transcripts(
    own: TaskAccess,
    tasks: Iterable[Task],
    transcript_format: str,
    options: WriterOptions = PLAIN,
    *,
    is_original: bool = False,
) -> Iterator[bytes]:
    """The archive's bytes. is_original: as the texts were transcribed, without what people changed.

    A transcript that no longer exists is named in `_missing.txt` instead.

    One that has no word timestamps is written with what of the options needs none, and named in
    `_without_word_timestamps.txt`: an answer that has been started cannot become an error.
    """
    sink, names, missing, wordless = _Sink(), MemberNames(), [], []
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for task in tasks:
            try:
                transcript, _ = own.transcript(task.id, is_original=is_original)
            except (FileMissingError, TaskNotFoundError) as error:
                log.warning("task=%s event=not_in_archive code=%s", task.id, error.code)
                missing.append(task.name)
                continue
            name = names.unique_name(task.saved_name, file_extension(transcript_format, task.options.mode))
            kept = _possible(transcript, transcript_format, options)
            if kept is not options:
                wordless.append(name)
            archive.writestr(_member(name, task), render_transcript_of(task, transcript, transcript_format, kept))
            yield sink.drain()
        for note, lines in ((MISSING_NAME, missing), (WORDLESS_NAME, wordless)):
            if lines:
                archive.writestr(zipfile.ZipInfo(note, _EARLIEST_ZIP_TIME), "\n".join(lines) + "\n")
    yield sink.drain()


def _possible(transcript: Transcript, transcript_format: str, options: WriterOptions) -> WriterOptions:
    is_possible = not FORMATS[transcript_format].has_cues or options.missing_in(transcript) is None
    return options if is_possible else options.without_words()


def _member(name: str, task: Task) -> zipfile.ZipInfo:
    moment = (task.finished_at or task.created_at).astimezone()  # a zip's times are local, and say nothing of zones
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
