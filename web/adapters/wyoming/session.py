"""One client's connection: it says what it wants, sends sound, and gets the text. The sound is a task like others."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack

from werkzeug.exceptions import ClientDisconnected
from wyoming.asr import Transcript
from wyoming.error import Error
from wyoming.event import Event
from wyoming.ping import Pong

from errors import InvalidOptionError, NotAuthenticatedError, TranscriptionServerError
from optimizer.intake.task_form import TaskForm, read_task_form
from web.adapters.waiting import WaitingRoom
from web.adapters.wyoming.description import description
from web.adapters.wyoming.event_stream import EventStream
from web.adapters.wyoming.recording import Recording
from web.http.owner import owner_at
from web.http.system_port import SystemPort
from whisper_core.text.options import MAX_PROMPT_CHARACTERS

log = logging.getLogger(__name__)


class Session:
    """One thread. connection: closed by whoever made it."""

    def __init__(self, system: SystemPort, room: WaitingRoom, connection: socket.socket, address: str) -> None:
        self._system = system
        self._room = room
        self._events = EventStream(connection)
        self._form: TaskForm | None = None
        self._recording = Recording(system, system.settings.wyoming_owner or owner_at(address))
        self._place = ExitStack()

    def run(self) -> None:
        """Until the client has its text or an error, or hangs up. Raises nothing."""
        try:
            self._answer_events()
        except (OSError, ClientDisconnected):  # includes that it was silent for too long
            log.debug("event=wyoming_client_gone")
        finally:
            self._recording.discard()
            self._place.close()

    def _answer_events(self) -> None:
        try:
            while (event := self._events.read()) is not None and self._answer(event):
                continue
        except TranscriptionServerError as error:
            self._tell(error)
        except (OSError, ClientDisconnected):
            raise
        except Exception as error:
            log.error("event=wyoming_failed", exc_info=error)
            self._tell(TranscriptionServerError())

    def _answer(self, event: Event) -> bool:
        """Whether more may come. Events that are not about speech recognition have no effect."""
        match event.type:
            case "describe":
                self._events.write(description(self._system).event())
            case "ping":
                text = event.data.get("text")
                self._events.write(Pong(text if isinstance(text, str) else None).event())
            case "transcribe":
                self._form = self._read(event)
            case "audio-start":
                self._recording.discard()
            case "audio-chunk":
                self._take(event)
            case "audio-stop":
                self._events.write(self._transcript().event())
                return False
        return True

    def _take(self, event: Event) -> None:
        if self._recording.is_empty:
            self._refuse_strangers()
            self._place.close()
            self._place.enter_context(self._room.place())
        self._recording.add(event)

    def _transcript(self) -> Transcript:
        if self._recording.is_empty:  # nobody spoke
            return Transcript(text="")
        form = self._form or self._read(Event("transcribe"))
        task = self._recording.submit(form).task.task
        with self._room.watching(task.id, self._events.is_client_gone) as watch:
            result = watch.result()
        return Transcript(text=result.transcript.text.strip(), language=result.transcript.language)

    def _refuse_strangers(self) -> None:
        """The protocol has no keys, so where there are accounts the settings have to say whose tasks these are."""
        if self._system.accounts.are_in_force() and not self._system.settings.wyoming_owner:
            raise NotAuthenticatedError("This server has accounts: WYOMING_OWNER has to name the one of these tasks.")

    def _read(self, event: Event) -> TaskForm:
        """Raises InvalidOptionError or UnknownModelError."""
        system = self._system
        words = [*_words(event, "transcript_names"), *_words(event, "transcript_terms")]
        options = {
            "model": _text(event, "name"),
            "language": _text(event, "language"),
            "hotwords": ", ".join(words)[:MAX_PROMPT_CHARACTERS],
        }
        sent = {name: text for name, text in options.items() if text}
        models = system.admission.models
        return read_task_form(sent.items(), system.settings, system.device_names(), models, system.default_model())

    def _tell(self, error: TranscriptionServerError) -> None:
        """Nothing of a refused recording is left once the client knows. It may go on speaking before it reads that."""
        self._recording.discard()
        self._place.close()
        field = getattr(error, "field", None)
        self._events.write(Error(text=f"{field}: {error.message}" if field else error.message, code=error.code).event())
        self._events.linger()


def _text(event: Event, name: str) -> str:
    value = event.data.get(name) or ""
    if not isinstance(value, str):
        raise InvalidOptionError("Must be text.", field=name)
    return value


def _words(event: Event, name: str) -> list[str]:
    value = event.data.get(name) or []
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise InvalidOptionError("Must be a list of texts.", field=name)
    return value
