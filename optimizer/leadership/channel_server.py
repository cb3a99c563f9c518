"""The leader's end of the channel: answers what the web processes ask, on a thread for each of their connections."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from errors import CommitUncertainError, TranscriptionServerError
from optimizer.common.gate import Gate
from optimizer.leadership.calls import CALLS, CONTEXTS, KEPT_EVENT, SUBMIT_FILE, resolve
from optimizer.leadership.messages import (
    BEGUN,
    SOCKET,
    Call,
    Enter,
    Failure,
    Leave,
    OtherVersionError,
    Result,
    SentFile,
    SentPart,
    connection_over,
    receive,
    send,
    socket_address,
)
from optimizer.leadership.received import submit_received
from optimizer.storage.part_file import PartWriter, WholePart
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event

log = logging.getLogger(__name__)

BACKLOG = 128
ACCEPT_AGAIN_S = 0.1
STOP_LIMIT_S = 2.0  # for calls in progress, and again for their connections; the system stops after that


class RequestBrokenOffError(Exception):
    """Within a context: its web process is gone, or the person's request was."""


class ChannelServer:
    """`start` and `stop` once."""

    def __init__(self, data_dir: Path, files: TaskFiles, kept_event: Callable[[str, int], Event | None]) -> None:
        """kept_event: see `EventPublisher.kept`."""
        self._data_dir = data_dir
        self._files = files
        self._kept_event = kept_event
        self._system: Any = None
        self._listener: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._num_busy = 0
        self._is_stopping = False
        self._has_refused = False  # another version, which is logged once
        self._changed = threading.Condition()  # of what stands above
        self._being_submitted: set[str] = set()  # files, by id
        self._in_doubt: set[str] = set()  # files, of which the next leader will know whether there are tasks
        self._submitting = threading.Condition()  # of those
        self._gate = Gate()  # to files that a web process has written
        self._pause = threading.Event()  # set when it stops

    def start(self, system: Any) -> None:
        """Answers from the system from now on. Raises OSError. Only the leader may call it: it replaces the socket that
        an earlier one left."""
        self._system = system
        with suppress(FileNotFoundError):
            (self._data_dir / SOCKET).unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with socket_address(self._data_dir) as address:
            self._listener.bind(address)
            os.chmod(address, 0o600)
        self._listener.listen(BACKLOG)
        threading.Thread(target=self._accept, args=[self._listener], name="channel-accept", daemon=True).start()

    def stop(self) -> None:
        """Takes nothing more, lets what was begun end for a while, and hangs up. Harmless when it was not started."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._pause.set()
        with suppress(FileNotFoundError):
            (self._data_dir / SOCKET).unlink()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        listener.close()
        with self._changed:
            self._is_stopping = True
            self._changed.wait_for(lambda: self._num_busy == 0, STOP_LIMIT_S)
            connections = list(self._connections)
        self._gate.shut()
        for connection in connections:
            _hang_up(connection)
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, STOP_LIMIT_S)

    def _accept(self, listener: socket.socket) -> None:
        """Whatever it cannot take now, such as for want of descriptors or threads, it can take later."""
        while True:
            try:
                peer, _ = listener.accept()
            except OSError as error:
                if self._listener is not listener:
                    return  # closed by `stop`
                log.warning("event=channel_not_accepting reason='%s'", error)
                self._pause.wait(ACCEPT_AGAIN_S)
                continue
            try:
                connection = connection_over(peer)
            except OSError as error:
                log.warning("event=channel_refused reason='%s'", error)
                continue
            with self._changed:
                self._connections.add(connection)
            try:
                threading.Thread(target=self._serve, args=[connection], name="channel", daemon=True).start()
            except RuntimeError as error:  # no more threads
                log.warning("event=channel_refused reason='%s'", error)
                self._close(connection)

    def _serve(self, connection: Connection) -> None:
        try:
            while (message := _receive(connection)) is not None:
                if not self._begin():
                    break
                try:
                    self._answer(connection, message)
                finally:
                    self._end()
        except OtherVersionError as error:
            self._refuse(connection, error)
        except OSError:
            log.debug("event=web_process_gone")
        finally:
            self._close(connection)

    def _refuse(self, connection: Connection, error: OtherVersionError) -> None:
        """Any message tells the other end that this one is of another version, and nothing was begun."""
        if not self._has_refused:
            self._has_refused = True
            log.error("event=other_version version=%s: a web process of it is refused; restart it", error)
        with suppress(OSError):
            send(connection, BEGUN)

    def _close(self, connection: Connection) -> None:
        connection.close()
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def _begin(self) -> bool:
        with self._changed:
            if self._is_stopping:
                return False
            self._num_busy += 1
            return True

    def _end(self) -> None:
        with self._changed:
            self._num_busy -= 1
            self._changed.notify_all()

    def _answer(self, connection: Connection, message: object) -> None:
        send(connection, BEGUN)
        match message:
            case Call():
                _send(connection, _outcome(lambda: self._do(message)))
            case Enter():
                _send(connection, _outcome(lambda: self._hold(connection, message.call)))

    def _do(self, call: Call) -> Any:
        if call.name == SUBMIT_FILE:
            return self._submit(*call.args, **call.named)
        if call.name == KEPT_EVENT:
            return self._kept_event(*call.args)
        if call.name not in CALLS:
            raise ValueError(f"{call.name} is not answered")
        return resolve(self._system, call.name)(*call.args, **call.named)

    def _submit(self, sent: SentFile, **named: Any) -> Any:
        """One at a time for a file. A web process that got no answer in time may ask again: the task that was made
        meanwhile is the answer, and its file is left alone."""
        with self._submitting:
            self._submitting.wait_for(lambda: sent.task_id not in self._being_submitted)
            if sent.task_id in self._in_doubt:
                raise CommitUncertainError()
            self._being_submitted.add(sent.task_id)
        try:
            return submit_received(self._system, sent, self._files, named, self._gate)
        except CommitUncertainError:
            self._in_doubt.add(sent.task_id)
            raise
        finally:
            with self._submitting:
                self._being_submitted.remove(sent.task_id)
                self._submitting.notify_all()

    # --- contexts --------------------------------------------------------------------------------------------------

    def _hold(self, connection: Connection, call: Call) -> None:
        """Until the web process leaves the context, or is gone, which counts as a request that was broken off."""
        if call.name not in CONTEXTS:
            raise ValueError(f"{call.name} is not answered")
        with resolve(self._system, call.name)(*call.args, **call.named) as entered:
            send(connection, Result(_shown(entered)))
            while True:
                match self._next(connection):
                    case Call() as message:
                        send(connection, BEGUN)
                        _send(connection, _outcome(partial(self._use, entered, message)))
                    case Leave(failure=Failure() as failure):
                        send(connection, BEGUN)
                        raise failure.error()
                    case Leave(is_broken=False):
                        send(connection, BEGUN)
                        return
                    case Leave():
                        send(connection, BEGUN)
                        raise RequestBrokenOffError()
                    case _:
                        raise RequestBrokenOffError()

    def _next(self, connection: Connection) -> object | None:
        """A request may go on for hours: while it waits for its web process it keeps nobody from stopping."""
        self._end()
        try:
            return _receive(connection)
        finally:
            with self._changed:
                self._num_busy += 1

    def _use(self, entered: object, call: Call) -> Any:
        match entered, call.name:
            case PartWriter(), "write":
                return entered.write(*call.args)
            case WholePart(), "became":
                return entered.became(*call.args)
            case WholePart(), "submit":
                made = self._system.submit(entered, **call.named)
                entered.became(made.task.task.id)  # now: the web process may be gone before it can say so
                return made
        raise ValueError(f"{call.name} is not answered")


def _shown(entered: object) -> object:
    """What a web process is given of what was entered."""
    match entered:
        case WholePart():
            details = dict(entered.details)
            return SentPart(entered.task_id, entered.size, entered.sha256, details, entered.key, entered.owner)
        case PartWriter():
            return None
    return entered


def _receive(connection: Connection) -> object | None:
    """None when the other end has hung up, or cannot be understood."""
    try:
        return receive(connection)  # type: ignore[no-any-return]
    except (EOFError, OSError):
        return None
    except (ValueError, TypeError, LookupError, ImportError):  # of another version, for one
        log.exception("event=channel_message_unreadable")
        return None


def _outcome(act: Callable[[], Any]) -> Result | Failure:
    try:
        return Result(act())
    except TranscriptionServerError as error:
        return Failure.of(error)
    except RequestBrokenOffError:
        return Result(None)
    except Exception:
        log.exception("event=channel_call_failed")
        return Failure.of(TranscriptionServerError())


def _send(connection: Connection, outcome: Result | Failure) -> None:
    try:
        send(connection, outcome)
    except OSError:
        raise
    except TypeError:  # nothing was sent
        log.exception("event=channel_answer_failed")
        send(connection, Failure.of(TranscriptionServerError()))


def _hang_up(connection: Connection) -> None:
    """Wakes the thread that waits for it, which then closes it."""
    with suppress(OSError):
        own = socket.socket(fileno=os.dup(connection.fileno()))
        with own:
            own.shutdown(socket.SHUT_RDWR)
