"""What the web package needs from OptimizedWhisperSystem. Tests use a smaller system with the same methods."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from config import Settings
from optimizer.accounts.accounts import Accounts
from optimizer.automation.webhooks import Webhooks
from optimizer.editing.transcript_editor import TranscriptEditor
from optimizer.intake.admission import Admission
from optimizer.intake.idempotency import IdempotencyKeys
from optimizer.monitoring.event_log import EventKind, SystemEvent
from optimizer.monitoring.figures import Figures
from optimizer.sharing.shares import Shares
from optimizer.storage.part_store import PartStore
from optimizer.tasks.batches import Batch, BatchPage
from optimizer.tasks.events import Listener, WindowFinished
from optimizer.tasks.task import Priority, TaskFilter, TaskOptions, TaskStatus
from optimizer.tasks.task_changes import TaskChanges
from optimizer.tasks.timeline import TaskEvent
from optimizer.views.storage import StorageUse
from optimizer.views.task_view import Submission, TaskView
from whisper_core.audio.waveform import Waveform
from whisper_core.text.transcript import Transcript


class UploadPort(Protocol):
    """A file that is being received. `discard` may be called at any time, and more than once."""

    task_id: str
    size: int

    def write(self, data: bytes, /) -> int:
        """Raises FileTooLargeError and DiskFullError."""

    def discard(self) -> None: ...


class OwnershipPort(Protocol):
    """Whose tasks are whose."""

    def owner_of(self, task_id: str, /) -> str:
        """Raises TaskNotFoundError."""

    def ids_of(self, owner: str, /, among: Collection[str]) -> set[str]: ...

    def counts(self, owner: str, /) -> dict[TaskStatus, int]: ...


class WaveformsPort(Protocol):
    def of(self, task_id: str, /) -> Waveform:
        """Raises TaskNotFoundError, WaveformNotReadyError, FileMissingError and ConflictError."""


class SystemPort(Protocol):
    """All methods may be called from any thread. The errors that they raise are in `errors`.

    Those about tasks do what they are asked, whoever asks: see `task_access`.
    """

    settings: Settings
    accounts: Accounts

    @property
    def ownership(self) -> OwnershipPort: ...

    @property
    def admission(self) -> Admission:
        """What is refused before the first byte of an upload."""

    @property
    def webhooks(self) -> Webhooks: ...

    @property
    def editor(self) -> TranscriptEditor:
        """What people change in transcripts."""

    @property
    def shares(self) -> Shares: ...

    @property
    def keys(self) -> IdempotencyKeys: ...

    @property
    def parts(self) -> PartStore:
        """Uploads that arrive in several requests."""

    @property
    def waveforms(self) -> WaveformsPort: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def begin_upload(self, expected_bytes: int = 0, owner: str = "") -> Any:
        """An UploadPort. expected_bytes: the size that the client announced, or 0.

        Raises DiskFullError, ShuttingDownError, QueueFullError or QuotaExceededError.
        """

    def submit(
        self,
        upload: Any,
        *,
        filename: str,
        options: TaskOptions,
        priority: Priority,
        device: str,
        idempotency_key: str | None,
        owner: str,
        callback_url: str | None = None,
        batch: Batch | None = None,
    ) -> Submission: ...

    def task(self, task_id: str, /) -> TaskView:
        """Raises TaskNotFoundError, like every method that takes the id of a task."""

    def tasks(self, task_filter: TaskFilter, /) -> tuple[list[TaskView], str | None, dict[TaskStatus, int]]: ...

    def batches(self, owner: str | None, /, *, limit: int, cursor: str | None) -> BatchPage:
        """The latest first."""

    def cancel_all(self, wanted: TaskFilter, /) -> int:
        """Those that are not finished; how many they were."""

    def transcript(self, task_id: str, /, *, is_original: bool = False) -> tuple[Transcript, bool]:
        """The text so far, and whether more will follow; as people have changed it, or as it was transcribed.

        Raises FileMissingError.
        """

    def segments_from(self, task_id: str, first: int, /) -> WindowFinished | None: ...

    def media(self, task_id: str, /) -> Path:
        """Raises FileMissingError."""

    def cancel(self, task_id: str, /) -> TaskView: ...

    def retry(self, task_id: str, /) -> TaskView: ...

    def change(self, task_id: str, wanted: TaskChanges, /) -> TaskView: ...

    def move(self, task_id: str, other_id: str, /, *, is_before: bool) -> TaskView:
        """Raises ConflictError."""

    def delete(self, task_id: str, /) -> None: ...

    def timeline(self, task_id: str, /) -> list[TaskEvent]:
        """What happened to the task, oldest first."""

    def default_model(self) -> str: ...

    def models(self) -> Any: ...

    def status(self) -> dict[str, Any]: ...

    def storage(self, owner: str | None, /) -> StorageUse:
        """What is used of the disk by one owner or by all."""

    def figures(self) -> Figures:
        """What programs that watch the system are told."""

    def device_names(self) -> list[str]:
        """What a task may ask for as its device, besides `auto`."""

    def set_limits(
        self, max_concurrent_tasks: int | None = None, max_batch_size: int | None = None
    ) -> dict[str, Any]: ...

    def history(self, hours: float, /) -> dict[str, Any]:
        """The monitor's samples, and the changes of settings, of the last hours."""

    def events(self, kind: EventKind | None = None, limit: int = 100, before: int | None = None) -> list[SystemEvent]:
        """What was decided and changed, newest first."""

    def fetch_model(self, name: str, /) -> None: ...

    def health(self) -> list[str]: ...

    def readiness(self) -> list[str]: ...
    def degradations(self) -> list[str]: ...

    def add_listener(self, listener: Listener, /) -> None: ...

    def when_leading(self, act: Callable[[], None], /) -> None:
        """Calls it once, as soon as this process has the queue: at once, unless another process has it."""
