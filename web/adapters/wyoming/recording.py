"""What is said into one connection, on its way to a task: bare samples that become a wav file."""

from __future__ import annotations

from typing import Any

from wyoming.event import Event

from errors import InvalidOptionError
from optimizer.intake.task_form import TaskForm
from optimizer.views.task_view import Submission
from web.adapters.raw_sound import SoundFormat, wav_header
from web.http.system_port import SystemPort, UploadPort

FILENAME = "wyoming.wav"
_RATES, _WIDTHS, _CHANNELS = range(1000, 384_001), range(2, 5), range(1, 33)


class Recording:
    """One thread. `begin` it, then either `submit` or `discard`; the latter is harmless at any time."""

    def __init__(self, system: SystemPort, owner: str) -> None:
        self._system = system
        self._owner = owner
        self._format: SoundFormat | None = None
        self._upload: Any = None

    @property
    def is_empty(self) -> bool:
        return self._upload is None

    def add(self, event: Event) -> None:
        """Raises InvalidOptionError for a format that cannot be, what `begin_upload` raises, and FileTooLargeError."""
        sound_format = _format_of(event)
        if self._format not in (None, sound_format):
            raise InvalidOptionError("The sound's rate, width or channels changed on the way.")
        if not event.payload:
            return
        if self._upload is None:
            self._format, self._upload = sound_format, self._begun()
            self._upload.write(wav_header(sound_format=sound_format))
        self._upload.write(event.payload)

    def submit(self, form: TaskForm) -> Submission:
        upload, self._upload = self._upload, None
        try:
            return self._system.submit(
                upload,
                filename=FILENAME,
                options=form.options,
                priority=form.priority,
                device=form.device,
                idempotency_key=None,
                owner=self._owner,
            )
        except BaseException:
            upload.discard()
            raise

    def discard(self) -> None:
        if self._upload is not None:
            self._upload.discard()
        self._format = self._upload = None

    def _begun(self) -> UploadPort:
        self._system.admission.admit(0, self._owner)
        upload: UploadPort = self._system.begin_upload(0, self._owner)
        return upload


def _format_of(event: Event) -> SoundFormat:
    return SoundFormat(
        _number(event, "rate", _RATES), _number(event, "width", _WIDTHS), _number(event, "channels", _CHANNELS)
    )


def _number(event: Event, name: str, allowed: range) -> int:
    value = event.data.get(name)
    if type(value) is not int or value not in allowed:
        raise InvalidOptionError(f"Must be a whole number from {allowed[0]} to {allowed[-1]}.", field=name)
    return value
