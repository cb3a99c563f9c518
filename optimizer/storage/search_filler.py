"""Brings texts that are not in the search's index yet into it, in the background: those of an earlier release, of a
restored backup, of an index that was made anew. Until then the search looks through them without the index.

A kill leaves a part of them for the next start. Beside each text goes what a hit shows of it, from its transcript.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from errors import FileMissingError, TranscriptionServerError
from optimizer.storage import mapping, search_index
from optimizer.storage.database import Database
from optimizer.storage.schema import task_texts, tasks
from optimizer.storage.search_index import SearchedText, sentences_of
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.search_hit import Sentence
from optimizer.tasks.task import TaskStatus

log = logging.getLogger(__name__)

AT_ONCE = 10  # texts in a transaction: about 0.1 s, for which other writers wait
PAUSE_S = 0.05  # for them
RETRY_S = 5.0


class SearchFiller:
    """Has a thread only while there is something to do."""

    def __init__(self, database: Database, files: TaskFiles) -> None:
        self._database = database
        self._files = files
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Once the store is open."""
        left = self.count_left()
        if left:
            log.info("event=search_filling texts=%d", left)
            self._thread = threading.Thread(target=self._run, name="search-filler")
            self._thread.start()

    def stop(self) -> None:
        """Harmless when repeated, or when it was not started."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def count_left(self) -> int:
        with self._database.reading() as connection:
            is_left = task_texts.c.index_form < search_index.form_now(connection)
            return int(connection.scalar(select(func.count()).select_from(task_texts).where(is_left)) or 0)

    def fill(self) -> bool:
        """Some of the texts. Returns whether there are more. Raises StoreBusyError, DiskFullError,
        DatabaseDamagedError."""
        with self._database.reading() as connection:
            found = self._next(connection)
        known = {row.id: self._sentences_of(row) for row in found}
        with self._database.writing() as connection:
            # Those that were deleted or written meanwhile are not touched.
            still = {row.id for row in self._next(connection)}
            texts = [
                SearchedText(mapping.task_or_stand_in(row), None, known[row.id]) for row in found if row.id in still
            ]
            search_index.write(connection, texts)
        return len(found) == AT_ONCE

    def _next(self, connection: Connection) -> Sequence[Row[Any]]:
        is_left = task_texts.c.index_form < search_index.form_now(connection)
        query = select(tasks, task_texts.c.sentences).join(task_texts, task_texts.c.task_id == tasks.c.id)
        query = query.where(is_left).order_by(task_texts.c.index_form, tasks.c.id).limit(AT_ONCE)
        return connection.execute(query).all()

    def _sentences_of(self, row: Row[Any]) -> tuple[Sentence, ...] | None:
        """What is to be written; None where it is there, or cannot be known."""
        if row.sentences is not None or row.status != TaskStatus.COMPLETED.value:
            return None
        try:
            return sentences_of(self._files.read_transcript(row.id, row.result_sha256).segments)
        except FileMissingError:
            return None

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopping.wait(wait_s):
            try:
                if not self.fill():
                    log.info("event=search_filled")
                    return
                wait_s = PAUSE_S
            except TranscriptionServerError as error:
                log.warning("event=search_filling_failed code=%s", error.code)
                wait_s = RETRY_S
