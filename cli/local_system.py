"""Transcribes inside this process, with the system that the server has, but for the web part.

Its data folder is a temporary one: nothing is left behind, and a server that runs on DATA_DIR is not disturbed. Weights
are those of MODELS_DIR.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from cli.transcriber import CannotStartError, Options, RefusedError, TaskProgress, form_fields
from config import Settings
from errors import StartError, TranscriptionServerError
from optimizer.intake.admission import Admission
from optimizer.intake.task_form import TaskForm, read_task_form
from optimizer.storage.upload_file import Upload
from optimizer.tasks.task import Priority, TaskOptions
from optimizer.views.rendering import render_transcript_of, warnings_of
from optimizer.views.task_view import Submission, TaskView
from whisper_core.text.transcript import Transcript
from whisper_core.text.writer_options import WriterOptions

COPY_BYTES = 1024 * 1024


class System(Protocol):
    """What is used of OptimizedWhisperSystem."""

    settings: Settings
    admission: Admission

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def begin_upload(self, expected_bytes: int = 0, owner: str = "") -> Upload: ...
    def submit(
        self,
        upload: Upload,
        *,
        filename: str,
        options: TaskOptions,
        priority: Priority,
        device: str,
        idempotency_key: str | None,
    ) -> Submission: ...
    def task(self, task_id: str) -> TaskView: ...
    def transcript(self, task_id: str) -> tuple[Transcript, bool]: ...
    def cancel(self, task_id: str) -> TaskView: ...
    def default_model(self) -> str: ...
    def device_names(self) -> list[str]: ...


MakeSystem = Callable[[Settings], System]


def optimized_system(settings: Settings) -> System:
    """The system with this machine's devices. It is not started yet."""
    from optimizer.system import OptimizedWhisperSystem  # other commands start faster without it

    return OptimizedWhisperSystem(settings)


@contextmanager
def local_transcriber(settings: Settings, make_system: MakeSystem) -> Iterator[LocalTranscriber]:
    """The system, started; stopped and its folder removed at the end. Raises CannotStartError."""
    folder = Path(tempfile.mkdtemp(prefix="transcribe-"))
    try:
        system = make_system(_private(settings, folder))
        try:
            system.start()
        except StartError as error:
            raise CannotStartError(str(error)) from error
        try:
            yield LocalTranscriber(system)
        finally:
            system.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _private(settings: Settings, folder: Path) -> Settings:
    """The same machine and models, nothing of the server's data, nobody to tell and nothing to watch."""
    own = {"data_dir": folder, "database_url": SecretStr(""), "webhook_urls": "", "watch_dir": "", "log_level": "ERROR"}
    return settings.model_copy(update=own)


class LocalTranscriber:
    poll_s = 0.1

    def __init__(self, system: System) -> None:
        self._system = system

    def submit(self, source: Path, name: str, options: Options) -> str:
        try:
            form = self._read(options)
            upload = self._system.begin_upload(source.stat().st_size)
            with upload:
                with source.open("rb") as file:
                    shutil.copyfileobj(file, upload, COPY_BYTES)
                submission = self._system.submit(
                    upload,
                    filename=name,
                    options=form.options,
                    priority=form.priority,
                    device=form.device,
                    idempotency_key=None,
                )
        except TranscriptionServerError as error:
            raise RefusedError.of(error) from error
        except OSError as error:
            raise RefusedError(error.strerror or str(error)) from error
        return submission.task.task.id

    def progress(self, task_id: str) -> TaskProgress:
        task = self._system.task(task_id).task
        problem = task.errors[-1].message if task.errors else None
        return TaskProgress(task.status, task.progress, problem, warnings_of(task))

    def transcript(self, task_id: str, format: str, writer: WriterOptions) -> bytes:
        try:
            transcript, _ = self._system.transcript(task_id)
            task = self._system.task(task_id).task
            return render_transcript_of(task, transcript, format, writer)
        except TranscriptionServerError as error:
            raise RefusedError.of(error) from error

    def cancel(self, task_id: str) -> None:
        with suppress(TranscriptionServerError):
            self._system.cancel(task_id)

    def _read(self, options: Options) -> TaskForm:
        """Raises InvalidOptionError or UnknownModelError, as an upload with these options would."""
        system = self._system
        return read_task_form(
            form_fields(options).items(),
            system.settings,
            system.device_names(),
            system.admission.models,
            system.default_model(),
        )
