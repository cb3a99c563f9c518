"""SharedSystem: what the web package talks to where several processes serve the same.

It answers as OptimizedWhisperSystem does. One process leads and has such a system; the others ask it, and the first of
them to notice its end leads next, in the same process and on the same port. Whoever asks notices none of that: a call
waits for the next leader, and its answer is the same. Events come through PostgreSQL; see `event_publisher`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import psycopg
from ulid import ULID

from config import Settings
from errors import NoLeaderError, TranscriptionServerError
from optimizer.accounts.accounts import Accounts
from optimizer.common.clock import Clock, SystemClock
from optimizer.leadership.calls import CALLS, KEPT_EVENT
from optimizer.leadership.channel_client import AnswerLostError, ChannelClient, NotBegunError
from optimizer.leadership.channel_server import ChannelServer
from optimizer.leadership.election import Election
from optimizer.leadership.event_listener import EventListener
from optimizer.leadership.event_publisher import EventPublisher
from optimizer.leadership.remote_uploads import RemoteKeys, RemoteParts, Submitter
from optimizer.leadership.route import Route
from optimizer.leadership.stored_transcripts import reader_beside_leader
from optimizer.storage.database import Database, database_url
from optimizer.storage.postgresql import connect_beside
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import Upload
from optimizer.tasks.events import Event, EventBus, EventsMissed, Listener
from optimizer.views.task_view import Submission
from whisper_core.models.registry import ModelRegistry
from whisper_core.text.transcript import Transcript

log = logging.getLogger(__name__)

PROBE_LIMIT_S = 5.0  # that a leader may take to say how it is
LOOK_AGAIN_S = 1.0
NOBODY_LEADS = "no process has the queue at the moment"


class LeadingSystem(Protocol):
    """OptimizedWhisperSystem, as far as it is used here by name."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def health(self) -> list[str]: ...

    def add_listener(self, listener: Listener, /) -> None: ...

    def when_given_up(self, act: Callable[[], None], /) -> None: ...


class SharedSystem:
    """start and stop once; everything else from any thread in between."""

    def __init__(
        self, settings: Settings, make_leader: Callable[[], LeadingSystem], *, clock: Clock | None = None
    ) -> None:
        """make_leader: a new system that was not started, for when this process leads."""
        self.settings = settings
        self._make_leader = make_leader
        self._files = TaskFiles(settings.data_dir, settings.min_free_disk_bytes)
        self._clock = clock or SystemClock()
        self._route = route = Route(ChannelClient(settings.data_dir), self._clock)
        self._events = EventBus()
        self._publisher = EventPublisher(self._connect)
        self._channel = ChannelServer(settings.data_dir, self._files, self._publisher.kept)
        self._listener = EventListener(self._connect, self._pass_on, self._kept_event)
        self._election = Election(self._files.is_locked, self._lead)
        self._pause = threading.Event()
        self._lock = threading.Lock()
        self._when_leading: list[Callable[[], None]] = []  # under the lock
        self._submitter = Submitter(route, self._files)
        self.submit: Callable[..., Submission] = self._submitter.submit
        self.keys = RemoteKeys(route)
        self.parts = RemoteParts(route)
        self.admission = _Admission(route, ModelRegistry(settings.models_dir))
        self._store = TaskStore(settings.data_dir, settings.database_url.get_secret_value())  # only to be read
        self._transcripts = reader_beside_leader(self._store, self._files, self._clock, self._events)
        self.accounts = _Accounts(
            settings, self._store.database, self._clock, partial(route.call, "accounts.signing_key")
        )
        for name in ("editor", "ownership", "shares", "waveforms", "webhooks"):
            setattr(self, name, _Part(route, name))

    def __getattr__(self, name: str) -> Any:
        """A method of the system's own."""
        if name not in CALLS:
            raise AttributeError(name)
        return partial(self._route.call, name)

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Leads, or serves beside the leader, for whose start it waits. Raises StartError."""
        self._files.make_folders()
        if not self._election.try_now():
            log.info("event=standby: another process leads")
            self._listener.start()
            self._election.start()
        try:
            self._wait_for_leader()
            self.accounts.open()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Whoever is next leads when this returns, if this process did."""
        self._election.stop()
        self._listener.stop()
        self._channel.stop()
        self._route.stop()
        if self._route.system is not None:
            self._route.system.stop()
            self._publisher.stop()
        self._store.close()

    def _lead(self) -> None:
        """Raises StartError, DataFolderInUseError when another process leads."""
        system = self._make_leader()
        system.add_listener(self._events.publish)
        system.add_listener(self._publisher.add)
        system.start()
        try:
            self._channel.start(system)
        except BaseException:
            system.stop()
            raise
        log.info("event=leader: this process has the queue")
        with self._lock:
            self._route.lead(system)
            waiting = list(self._when_leading)
        self._publisher.start()
        self._listener.stop()
        self._events.publish(EventsMissed())  # between the last leader's end and now
        for act in waiting:
            _try(act)
        system.when_given_up(_end_process)

    def _wait_for_leader(self) -> None:
        """Until then there may be no tables to find accounts in. SIGTERM ends it, and with it the process."""
        with _ended_by_sigterm():
            while self._route.system is None:
                try:
                    self._route.call("default_model")
                    return
                except NoLeaderError as error:
                    log.warning("event=no_leader: %s; waiting for one", self._election.failure or error.message)
                    self._pause.wait(LOOK_AGAIN_S)  # the answer may have come at once

    # --- events ----------------------------------------------------------------------------------------------------

    def add_listener(self, listener: Listener) -> None:
        """Call `listener` for every event from now on, whoever leads: in the thread where it happens, or comes in."""
        self._events.add_listener(listener)

    def when_leading(self, act: Callable[[], None]) -> None:
        with self._lock:
            if self._route.system is None:
                self._when_leading.append(act)
                return
        act()

    def _pass_on(self, event: Event) -> None:
        if self._route.system is None:
            self._events.publish(event)

    def _kept_event(self, origin: str, number: int) -> Event | None:
        try:
            event: Event | None = self._route.client.call(KEPT_EVENT, origin, number)
        except (NotBegunError, AnswerLostError, TranscriptionServerError):
            return None
        return event

    def _connect(self) -> psycopg.Connection[Any]:
        """Raises psycopg.Error."""
        url = database_url(self.settings.database_url.get_secret_value(), self.settings.data_dir)
        return connect_beside(url)

    # --- how it is -------------------------------------------------------------------------------------------------

    def health(self) -> list[str]:
        """Why this process should be restarted. A leader elsewhere is that process's own affair, and one that cannot
        lead tries again by itself."""
        reasons: list[str] = [] if self._route.system is None else self._route.system.health()
        return reasons

    def readiness(self) -> list[str]:
        """Why new tasks would not be worked on at the moment: the leader's reasons, or that there is none."""
        return self._of_leader("readiness", [self._election.failure or NOBODY_LEADS])

    def degradations(self) -> list[str]:
        return self._of_leader("degradations", [])

    def _of_leader(self, name: str, otherwise: list[str]) -> list[str]:
        try:
            if self._route.system is not None:
                own: list[str] = getattr(self._route.system, name)()
                return own
            told: list[str] = self._route.client.call(name, limit_s=PROBE_LIMIT_S)
        except (NotBegunError, AnswerLostError):
            return otherwise
        except NoLeaderError as error:  # one of another version
            return [error.message] if otherwise else []
        return told

    # --- tasks -----------------------------------------------------------------------------------------------------

    def transcript(self, task_id: str, *, is_original: bool = False) -> tuple[Transcript, bool]:
        """As `OptimizedWhisperSystem.transcript`, also without a leader."""
        reader = self._transcripts if self._route.system is None else self._route.system
        read: tuple[Transcript, bool] = reader.transcript(task_id, is_original=is_original)
        return read

    def media(self, task_id: str) -> Path:
        """By this process's own name of the data folder."""
        self._route.call("media", task_id)
        return self._files.find_media(task_id)

    def begin_upload(self, expected_bytes: int = 0, owner: str = "") -> Upload:
        """As `OptimizedWhisperSystem.begin_upload`. It is written by this process, whoever leads."""
        self._route.call("admission.admit", expected_bytes, owner)
        return self._files.begin_upload(
            str(ULID()), expected_bytes=expected_bytes, max_bytes=self.settings.max_upload_bytes
        )


class _Part:
    """Of the system, under its name: methods that are calls."""

    def __init__(self, route: Route, path: str) -> None:
        self._route = route
        self._path = path

    def __getattr__(self, name: str) -> Any:
        path = f"{self._path}.{name}"
        if path in CALLS:
            return partial(self._route.call, path)
        if any(call.startswith(f"{path}.") for call in CALLS):
            return _Part(self._route, path)
        raise AttributeError(name)


class _Accounts(Accounts):
    """Each process asks the database itself who somebody is: so its probes answer without a leader, and no request
    costs a call more. Only the key that signs is everywhere the leader's, who may have to make it."""

    def __init__(
        self, settings: Settings, database: Database, clock: Clock, ask_signing_key: Callable[[], bytes]
    ) -> None:
        super().__init__(settings, database, clock)
        self._ask_signing_key = ask_signing_key
        self._known_signing_key: bytes | None = None

    def signing_key(self) -> bytes:
        if self._known_signing_key is None:
            self._known_signing_key = self._ask_signing_key()
        return self._known_signing_key


class _Admission(_Part):
    def __init__(self, route: Route, models: ModelRegistry) -> None:
        """models: every process finds the same ones in MODELS_DIR."""
        super().__init__(route, "admission")
        self.models = models


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """For a wait without an end: SIGTERM raises SystemExit in it, after what it does otherwise. Signals are the main
    thread's; in another one nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        if callable(before):
            before(number, frame)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_process() -> None:
    """As gently as anybody can: another process leads then, and this one's master starts it anew."""
    log.critical("event=given_up reason='this process may store nothing any more, so another one has to lead'")
    os.kill(os.getpid(), signal.SIGTERM)


def _try(act: Callable[[], None]) -> None:
    """What comes with leading must not end it: there is nobody who could do it better."""
    try:
        act()
    except Exception:
        log.exception("event=leading_incomplete")
