"""What transcribes the files that a command names: a running server, or the same system inside this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from errors import TranscriptionServerError
from optimizer.tasks.task import TaskStatus
from whisper_core.text.writer_options import WriterOptions

Options = Mapping[str, Any]  # those of TaskOptions, by name, that somebody chose; and `device`


CANNOT_START = 3  # the exit code


class CannotStartError(Exception):
    """There is nothing that could transcribe. The text says why and what to do."""


class RefusedError(Exception):
    """One file or one request was refused."""

    def __init__(self, message: str, *, code: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field

    @property
    def is_about_options(self) -> bool:
        """Whether every other file would be refused for the same reason."""
        return self.code in ("invalid_option", "unknown_model")

    @classmethod
    def of(cls, error: TranscriptionServerError) -> RefusedError:
        return cls(error.message, code=error.code, field=getattr(error, "field", None))


@dataclass(frozen=True)
class TaskProgress:
    status: TaskStatus
    fraction: float  # 0 to 1
    problem: str | None = None  # why it failed
    warnings: tuple[str, ...] = ()  # about the recording, such as that it is damaged


class Transcriber(Protocol):
    """One thread. Every method raises RefusedError, and CannotStartError when the server is gone for good."""

    poll_s: float  # how long to wait between two looks at the tasks

    def submit(self, source: Path, name: str, options: Options) -> str:
        """The new task's id. name: what the recording is called."""

    def progress(self, task_id: str) -> TaskProgress: ...

    def transcript(self, task_id: str, format: str, writer: WriterOptions) -> bytes:
        """A completed task's whole file in that format."""

    def cancel(self, task_id: str) -> None:
        """Harmless for a task that has ended."""


def form_fields(options: Options) -> dict[str, str]:
    """The options as the API's forms spell them."""
    fields = {name: field_text(value) for name, value in options.items()}
    if options.get("suppress_tokens") == "":
        fields["suppress_tokens"] = field_text(None)
    return fields


def field_text(value: object) -> str:
    """One option's value in a form."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
