"""What requests to the API may contain, as pydantic models. They check each request and describe it in OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from errors import InvalidOptionError
from optimizer.intake.task_form import MAX_SPEAKERS
from optimizer.monitoring.event_log import EventKind
from optimizer.tasks.task import Priority
from optimizer.tasks.task_changes import TaskChanges, read_note, read_tags, read_title
from whisper_core.text.writer_options import WriterOptions

Status = Literal["pending", "processing", "completed", "failed", "retrying", "cancelled"]
PriorityWord = Literal["low", "normal", "high"]
TranscriptFormat = Literal["json", "txt", "srt", "vtt", "tsv", "lrc", "ass", "docx", "md", "paragraphs", "whisperx"]
ArchiveFormat = TranscriptFormat
TranscriptVersion = Literal["original", "edited"]
MAX_ARCHIVE_IDS = 1000


class Request(BaseModel):
    """Unknown fields are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Made once where flask-openapi3 asks for it at every request, to see which parameters are lists. To make it
        takes longer than everything else about a short reading."""
        if args or kwargs:
            return super().model_json_schema(*args, **kwargs)
        if cls not in _schemas:
            _schemas[cls] = super().model_json_schema()
        return _schemas[cls]


_schemas: dict[type[Request], dict[str, Any]] = {}


class TaskPath(BaseModel):
    id: str = Field(description="the task's id")


class ModelPath(BaseModel):
    name: str = Field(description="the model's name")


class CueFields(Request):
    """How subtitles are cut: openai-whisper's options; and ours, for every format."""

    max_line_width: int | None = Field(None, ge=1, le=1000, description="characters in a line of a subtitle")
    max_line_count: int | None = Field(
        None, ge=1, le=100, description="lines in a subtitle; with max_line_width, and needs word timestamps"
    )
    max_words_per_line: int | None = Field(
        None, ge=1, le=1000, description="words in a subtitle; needs word timestamps"
    )
    highlight_words: bool = Field(False, description="true: underline each word as it is said; needs word timestamps")

    without_speakers: bool = Field(False, description="true: leave out who speaks, in every format")

    def writer_options(self) -> WriterOptions:
        return WriterOptions(
            max_line_width=self.max_line_width,
            max_line_count=self.max_line_count,
            max_words_per_line=self.max_words_per_line,
            highlight_words=self.highlight_words,
            without_speakers=self.without_speakers,
        )


class TranscriptQuery(CueFields):
    format: TranscriptFormat = "json"
    bilingual: str | None = Field(
        None,
        max_length=64,
        description="the task of this text's translation, or of this translation's text: both in one",
    )
    version: TranscriptVersion = Field(
        "edited", description="edited: with what people changed; original: as it was transcribed"
    )
    download: bool = Field(False, description="true: as a file to save")


class MediaQuery(Request):
    download: bool = Field(False, description="true: as a file to save")


class ArchiveQuery(CueFields):
    ids: list[Annotated[str, StringConstraints(max_length=65 * MAX_ARCHIVE_IDS)]] = Field(
        default_factory=list, description="tasks, separated by commas or repeated; none: every completed task"
    )
    format: ArchiveFormat = "txt"
    version: TranscriptVersion = Field("edited", description="as of a single transcript")

    def task_ids(self) -> list[str]:
        """Each id once, in the order given."""
        ids = [part.strip() for entry in self.ids for part in entry.split(",")]
        return list(dict.fromkeys(task_id for task_id in ids if task_id))


class ArchiveBody(CueFields):
    model_config = ConfigDict(strict=True)  # lax would take `true` for 1

    ids: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = Field(
        min_length=1, max_length=MAX_ARCHIVE_IDS, description="tasks"
    )
    format: ArchiveFormat = "txt"
    version: TranscriptVersion = Field("edited", description="as of a single transcript")

    def task_ids(self) -> list[str]:
        """Each id once, in the order given."""
        return list(dict.fromkeys(self.ids))


class TaskPatch(Request):
    """At least one of them. What is left out stays as it is."""

    priority: PriorityWord | None = Field(None, description="only of a task that waits")
    title: str | None = Field(None, description="empty or null: it is called as its file")
    note: str | None = None
    tags: list[str] | None = None
    before: str | None = Field(None, max_length=64, description="the waiting task that it shall be directly ahead of")
    after: str | None = Field(None, max_length=64, description="the waiting task that it shall be directly behind")

    def neighbour(self) -> str | None:
        """Which task it shall be beside, if that is what is asked for. Raises InvalidOptionError."""
        asked = [name for name in ("before", "after") if getattr(self, name) is not None]
        if asked and len(self.model_fields_set) > 1:
            raise InvalidOptionError("A task is moved by itself: send nothing else with it.", field=asked[0])
        return getattr(self, asked[0]) if asked else None

    def changes(self) -> TaskChanges:
        """Raises InvalidOptionError."""
        sent = self.model_fields_set
        if not sent:
            raise InvalidOptionError(f"Name what to change: {', '.join(type(self).model_fields)}.", field="priority")
        if "priority" in sent and self.priority is None:
            raise InvalidOptionError("Must be low, normal or high.", field="priority")
        return TaskChanges(
            title=read_title(self.title or "") if "title" in sent else None,
            note=read_note(self.note or "") if "note" in sent else None,
            tags=read_tags(self.tags or ()) if "tags" in sent else None,
            priority=None if self.priority is None else Priority.of(self.priority),
        )


class TrackChoice(Request):
    track: int | str = Field(description="a sound track's number from 1, or its language")


class AgainBody(Request):
    options: dict[str, str | bool | int | float | None] = Field(
        default_factory=dict, description="those that change, named as in the form of an upload; null: the default"
    )

    def fields(self) -> dict[str, str]:
        return {name: _form_text(value) for name, value in self.options.items()}


def _form_text(value: str | bool | int | float | None) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class SpeakersChoice(Request):
    num_speakers: int | None = Field(
        None, ge=1, le=MAX_SPEAKERS, strict=True, description="how many people are heard, if that is known"
    )


class SystemPatch(Request):
    max_concurrent_tasks: int | None = Field(None, ge=1, le=256, strict=True)  # lax would take `true` for 1
    max_batch_size: int | None = Field(None, ge=1, le=64, strict=True)

    @model_validator(mode="after")
    def _changes_something(self) -> SystemPatch:
        if self.max_concurrent_tasks is None and self.max_batch_size is None:
            raise ValueError("max_concurrent_tasks or max_batch_size is wanted")
        return self


class HistoryQuery(Request):
    hours: float = Field(1, ge=0.1, le=168, description="how far back")


class SystemEventsQuery(Request):
    kind: EventKind | None = Field(None, description="only events of this kind")
    limit: int = Field(100, ge=1, le=500)
    before: int | None = Field(None, ge=1, le=2**53, description="only events older than the one with this id")


class LogQuery(Request):
    limit: int = Field(200, ge=1, le=1000)
