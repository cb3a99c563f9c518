"""A batch: uploads that whoever sent them wants to see and to cancel together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from errors import InvalidOptionError
from optimizer.common.filenames import without_hidden
from optimizer.tasks.task import TaskStatus

MAX_NAME_CHARACTERS = 200
_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")


@dataclass(frozen=True)
class Batch:
    id: str  # chosen by the sender; another owner may have a batch of the same id
    name: str | None = None


@dataclass(frozen=True)
class BatchSummary:
    """A batch as it is now; without tasks there is none."""

    batch: Batch
    owner: str
    counts: Mapping[TaskStatus, int]
    progress: float  # over all its sound, 0 to 1; what has ended counts as done, however it ended
    audio_seconds: float  # as far as it is known
    created_at: datetime  # of its first task
    last_seq: int
    eta_seconds: float | None = None  # until the last one is finished; None when it cannot be told

    @property
    def num_tasks(self) -> int:
        return sum(self.counts.values())

    @property
    def is_finished(self) -> bool:
        return all(status.is_final for status, count in self.counts.items() if count)


@dataclass(frozen=True)
class BatchPage:
    batches: tuple[BatchSummary, ...]
    next_cursor: str | None


def read_batch(batch_id: str, name: str) -> Batch | None:
    """Of two fields of a form, of which an empty one was not sent. Raises InvalidOptionError."""
    if not batch_id:
        if name:
            raise InvalidOptionError("A batch needs an id beside its name: send `batch`.", field="batch_name")
        return None
    if not _ID.fullmatch(batch_id):
        raise InvalidOptionError("A batch's id is 1 to 64 letters, digits and . - or _.", field="batch")
    shown = " ".join(without_hidden(name).split())
    if len(shown) > MAX_NAME_CHARACTERS:
        raise InvalidOptionError(f"A batch's name has at most {MAX_NAME_CHARACTERS} characters.", field="batch_name")
    return Batch(batch_id, shown or None)
