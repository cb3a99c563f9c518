"""A web process's end of the channel: calls, each on a connection that is used again afterwards."""

from __future__ import annotations

import logging
import socket
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from errors import NoLeaderError, TranscriptionServerError
from optimizer.leadership.messages import (
    BEGUN,
    Call,
    Enter,
    Failure,
    Leave,
    OtherVersionError,
    connection_over,
    receive,
    send,
    socket_address,
)

log = logging.getLogger(__name__)

ANSWER_LIMIT_S = 120.0  # longer than any call takes; a leader that hangs is ended by its master before
ENTER_LIMIT_S = 1800.0  # after a change of the leader an upload is read again before it goes on: 100 GB at 60 MB/s
CONNECT_LIMIT_S = 5.0
MOST_IDLE = 32
OTHER_VERSION = "Another version of the server leads. Restart this one, so that both are of the same."


class NotBegunError(Exception):
    """There is no leader, or it took nothing: what was asked was not done."""


class NothingBegunInTimeError(NotBegunError):
    """The leader is there and says nothing, as one that hangs."""


class AnswerLostError(Exception):
    """The leader began with it and went away, so it may have been done or not."""


class ChannelClient:
    """Any thread. Nothing is repeated here; see `Route`."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._is_closed = False
        self._is_refused = False  # by another version, which is logged once

    def call(self, name: str, *args: Any, limit_s: float = ANSWER_LIMIT_S, **named: Any) -> Any:
        """What the leader answers. Raises its errors, NotBegunError and AnswerLostError."""
        connection, answer = self._asked(Call(name, args, named), limit_s)
        self._give_back(connection)
        return _value(answer)

    def enter(self, name: str, *args: Any) -> Session:
        """An entered context. Raises as `call`."""
        connection, answer = self._asked(Enter(Call(name, args)), ENTER_LIMIT_S)
        try:
            value = _value(answer)
        except TranscriptionServerError:
            self._give_back(connection)
            raise
        return Session(self, connection, value)

    def close(self) -> None:
        """Harmless when repeated. Calls in progress are not disturbed."""
        with self._lock:
            self._is_closed = True
        self._forget_idle()

    def _asked(self, message: Call | Enter, limit_s: float) -> tuple[Connection, Any]:
        """What is answered, and on which connection."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return kept, _ask_or_close(kept, message, limit_s)
            except NothingBegunInTimeError:
                raise
            except NotBegunError:  # its leader is gone, and there may be another one by now
                self._forget_idle()
        connection = self._new_connection()
        try:
            return connection, _ask_or_close(connection, message, limit_s)
        except OtherVersionError as error:  # nothing was begun, and waiting does not help
            if not self._is_refused:
                self._is_refused = True
                log.error("event=other_version version=%s: %s", error, OTHER_VERSION)
            raise NoLeaderError(OTHER_VERSION) from error

    def _forget_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _new_connection(self) -> Connection:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(CONNECT_LIMIT_S)  # a leader that accepts nothing is as good as none
        try:
            with socket_address(self._data_dir) as address:
                peer.connect(address)
            return connection_over(peer)
        except OSError as error:
            peer.close()
            raise NotBegunError() from error

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            is_kept = not self._is_closed and len(self._idle) < MOST_IDLE
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()


class Session:
    """A context that the leader has entered for one request; as a context manager it leaves it. One thread."""

    def __init__(self, client: ChannelClient, connection: Connection, value: Any) -> None:
        """value: what was entered, as far as it can be told."""
        self._client = client
        self._connection = connection
        self.value = value
        self.is_lost = False

    def use(self, name: str, *args: Any, **named: Any) -> Any:
        """Calls a method of what was entered. Raises its errors, NotBegunError and AnswerLostError."""
        try:
            return _value(_ask(self._connection, Call(name, args, named), ANSWER_LIMIT_S))
        except (NotBegunError, AnswerLostError):
            self.is_lost = True
            raise

    def __enter__(self) -> Any:
        return self.value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises what leaving it raised, unless that is only what the block raised. A leader that is gone has left it,
        too; whether what was done is kept is for the caller to find out."""
        leave = Leave(Failure.of(error) if isinstance(error, TranscriptionServerError) else None, error is not None)
        try:
            if self.is_lost:
                raise NotBegunError()
            answer = _ask(self._connection, leave, ANSWER_LIMIT_S)
        except (NotBegunError, AnswerLostError):
            self.is_lost = True
            self._connection.close()
            return
        self._client._give_back(self._connection)
        if isinstance(answer, Failure) and not isinstance(error, answer.kind):
            raise answer.error() from error


def _ask_or_close(connection: Connection, message: Call | Enter, limit_s: float) -> Any:
    try:
        return _ask(connection, message, limit_s)
    except BaseException:
        connection.close()
        raise


def _ask(connection: Connection, message: Call | Enter | Leave, limit_s: float) -> Any:
    """Raises NotBegunError, AnswerLostError and OtherVersionError; then the connection is of no more use."""
    try:
        send(connection, message)
        if not connection.poll(limit_s):
            raise NothingBegunInTimeError()
        if receive(connection) != BEGUN:
            raise NotBegunError()
    except (EOFError, OSError) as error:
        raise NotBegunError() from error
    try:
        if not connection.poll(limit_s):
            raise AnswerLostError()
        return receive(connection)
    except (EOFError, OSError) as error:
        raise AnswerLostError() from error


def _value(answer: Any) -> Any:
    if isinstance(answer, Failure):
        raise answer.error()
    return answer.value


def no_answer() -> NoLeaderError:
    """For what may have been done or not."""
    return NoLeaderError(
        "The server was restarted while it did this, and whether it was done is not known. Look, and ask again if not."
    )
