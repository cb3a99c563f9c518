"""What is refused before the first byte of an upload is taken, so that none is sent in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from config import Settings
from errors import DiskFullError, QueueFullError, ShuttingDownError, TranscriptionServerError
from optimizer.intake.model_placement import device_to_request, refusal_of
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import TaskOptions, TaskStatus, num_waiting
from whisper_core.models.registry import ModelRegistry


@dataclass(frozen=True)
class Placement:
    """A task's options with the model's own name, the device to ask for, and why the server takes no such task."""

    options: TaskOptions
    device: str
    refusal: TranscriptionServerError | None


class Admission:
    """Any thread."""

    def __init__(
        self,
        settings: Settings,
        files: TaskFiles,
        counts: Callable[[], Mapping[TaskStatus, int]],
        check_quota: Callable[[str, int], None],
        known_devices: Callable[[], Collection[str]],
        may_use_cpu: Callable[[], bool],
        no_int8_reason: Callable[[], str | None],
        models: ModelRegistry,
    ) -> None:
        """counts: of tasks by state. check_quota: see Ownership. models: the server's. The rest: see
        `model_placement.refusal_of`."""
        self.models = models
        self._settings = settings
        self._files = files
        self._counts = counts
        self._check_quota = check_quota
        self._known_devices = known_devices
        self._may_use_cpu = may_use_cpu
        self._no_int8_reason = no_int8_reason
        self._is_closed = threading.Event()

    def close(self) -> None:
        """From now on everything is refused: the server stops."""
        self._is_closed.set()

    def admit(self, expected_bytes: int, owner: str = "") -> None:
        """The one place where an owner's next upload is refused. expected_bytes: as announced, or 0.

        Raises ShuttingDownError, QueueFullError, QuotaExceededError or DiskFullError.
        """
        if self._is_closed.is_set():
            raise ShuttingDownError()
        if num_waiting(self._counts()) >= self._settings.max_queued_tasks:
            raise QueueFullError()
        self._check_quota(owner, expected_bytes)
        if not self._files.has_room(expected_bytes):
            raise DiskFullError()

    def check_growing(self, nbytes: int, owner: str) -> None:
        """For a file whose length was not announced: whether its owner may have what there is of it so far.

        Raises ShuttingDownError or QuotaExceededError.
        """
        if self._is_closed.is_set():
            raise ShuttingDownError()
        self._check_quota(owner, nbytes)

    def place(self, options: TaskOptions, device: str) -> Placement:
        """Raises UnknownModelError."""
        model = self.models.info(options.model)
        device = device_to_request(model, device)
        refusal = refusal_of(
            model,
            device,
            known_devices=self._known_devices(),
            may_use_cpu=self._may_use_cpu(),
            no_int8_reason=self._no_int8_reason(),
        )
        return Placement(replace(options, model=model.name), device, refusal)  # `large` is another name for one of them
