"""What may be asked of the list of tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, Field

from errors import InvalidOptionError
from optimizer.tasks.task import TaskFilter, TaskSort, TaskStatus
from web.http.request_schemas import Request, Status

_DATE_LENGTH = len("2026-11-29")
_MOST_SECONDS = 1e9

SortWord = Literal["created", "finished", "length", "name", "model", "status", "owner", "line"]


class TaskFilterQuery(Request):
    """Which tasks are meant."""

    status: Status | None = Field(None, description="only tasks in this state")
    model: str | None = Field(None, max_length=64, description="only tasks of this model")
    q: str | None = Field(
        None,
        max_length=200,
        description="words of names and texts in any order, of the last one its beginning; phrases in quotation marks",
    )
    tag: str | None = Field(None, max_length=64, description="only tasks with this tag")
    batch: str | None = Field(None, max_length=64, description="only tasks of this batch")
    from_: str | None = Field(None, alias="from", max_length=40, description="only tasks accepted then or later")
    to: str | None = Field(None, max_length=40, description="only tasks accepted before that; a date: or on that day")
    min_seconds: float | None = Field(
        None, ge=0, le=_MOST_SECONDS, description="only recordings of at least this length"
    )
    max_seconds: float | None = Field(
        None, ge=0, le=_MOST_SECONDS, description="only recordings of at most this length"
    )
    owner: str | None = Field(None, max_length=64, description="only tasks of this account; for an admin")

    def wanted(self) -> TaskFilter:
        """Raises InvalidOptionError."""
        return TaskFilter(
            status=None if self.status is None else TaskStatus(self.status),
            model=self.model,
            query=self.q or None,
            tag=self.tag,
            batch=self.batch,
            created_from=None if self.from_ is None else _moment(self.from_, "from"),
            created_before=None if self.to is None else _end(self.to),
            min_seconds=self.min_seconds,
            max_seconds=self.max_seconds,
            owner=self.owner,
        )


class TaskListQuery(TaskFilterQuery):
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="only the caller's own tasks of the file with this SHA-256"
    )
    same_recording_as: str | None = Field(
        None, max_length=64, description="only tasks of this task's recording and owner, itself among them"
    )
    sort: SortWord | None = Field(None, description="left out: the newest first, a retried task being new")
    order: Literal["asc", "desc"] | None = Field(
        None, description="left out: newest or longest first, else from a to z"
    )
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=1000, description="a page's next_cursor")

    def task_sort(self) -> TaskSort:
        """A stretch of time is looked up by when tasks were accepted."""
        if self.sort is not None:
            return TaskSort(self.sort)
        return TaskSort.ARRIVAL if self.from_ is None and self.to is None else TaskSort.CREATED


class CancelBody(TaskFilterQuery):
    """Which tasks to cancel. Everything that one may see is only cancelled when that is said."""

    all: bool = Field(False, strict=True, description="true: all that are not finished, where nothing narrows it down")

    def wanted(self) -> TaskFilter:
        if not any(getattr(self, name) not in (None, "", False) for name in self.model_fields_set):
            raise InvalidOptionError("Say which tasks are meant; or that all are, with `all`.", field="all")
        return super().wanted()


class BatchListQuery(Request):
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=20, description="a page's next_cursor")


class BatchQuery(Request):
    owner: str | None = Field(None, max_length=64, description="only tasks of this account; for an admin")


class BatchPath(BaseModel):
    id: str = Field(description="the batch's id")


def _moment(text: str, field: str) -> datetime:
    """Of a date, its beginning. UTC, unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidOptionError("Must be a date, or a date and a time, in ISO 8601.", field=field) from error


def _end(text: str) -> datetime:
    end = _moment(text, "to")
    try:
        return end + timedelta(days=1) if len(text) <= _DATE_LENGTH else end
    except OverflowError as error:
        raise InvalidOptionError("Must be a date that has a day after it.", field="to") from error
