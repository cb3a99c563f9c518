"""Who writes next, and whose changes are committed together.

A commit waits for the disk; the rest of a transaction is quick. So a writer behind which others wait leaves its
transaction open to the next of them, and the last one commits for all: one wait for the disk in place of many. Nobody
returns before the commit that holds its changes is durable. A writer that waits for nobody commits at once.

Each writer's changes are its own: what fails is taken back to the writer's savepoint, and the others' stays.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from errors import StoreBusyError, TranscriptionServerError
from optimizer.common.clock import Clock
from optimizer.storage.dialect import WriteTransaction

MAX_SHARING = 32  # writers of one transaction: the first of them waits for all


class SharedTransaction:
    """An open write transaction. Belongs to the writer whose turn it is, except for `wait_until_durable`."""

    def __init__(self, connection: Connection, transaction: WriteTransaction) -> None:
        """transaction: the connection's, which is closed at its end."""
        self.connection = connection
        self._transaction = transaction
        self.num_writers = 0  # that have changed something which is not committed yet
        self._ended = threading.Event()
        self._error: BaseException | None = None

    @contextmanager
    def part(self) -> Iterator[None]:
        """One writer's changes: all of them, or none when the block raises.

        When they cannot be taken back alone, because the database gave the whole transaction up, all are lost, and
        `is_over` is true.
        """
        savepoint = None
        try:
            if self.num_writers:
                savepoint = self.connection.begin_nested()
            yield
            if savepoint is not None:
                savepoint.commit()
            elif not self._transaction.is_open:  # the block passed over an error that has ended it
                raise StoreBusyError()
        except BaseException as error:
            if savepoint is not None:
                with suppress(DBAPIError):
                    savepoint.rollback()
            if savepoint is None or not self._transaction.is_open:
                self._end(error, is_kept=False)
            raise
        self.num_writers += 1

    @property
    def is_over(self) -> bool:
        return self._ended.is_set()

    def commit(self) -> None:
        """Raises nothing: `wait_until_durable` does, in every writer's thread."""
        try:
            self._transaction.commit()
        except BaseException as error:  # noqa: BLE001 - told to every writer
            self._end(error, is_kept=False)
        else:
            self._end(None, is_kept=True)

    def wait_until_durable(self) -> None:
        """Raises when the changes of this transaction were lost."""
        self._ended.wait()
        if self._error is None:
            return
        if isinstance(self._error, DBAPIError | TranscriptionServerError):
            raise self._error.with_traceback(None)
        raise StoreBusyError() from self._error

    def _end(self, error: BaseException | None, *, is_kept: bool) -> None:
        self._error = error
        try:
            if not is_kept:
                with suppress(DBAPIError):
                    self._transaction.rollback()
            self.connection.close()
        finally:
            self._ended.set()


@dataclass(eq=False)
class _Waiter:
    may_share: bool
    granted: threading.Event = field(default_factory=threading.Event)
    transaction: SharedTransaction | None = None  # the one to take part in; None: a new one
    refusal: BaseException | None = None


class WriteTurns:
    """One writer at a time, in the order in which they came. Any thread."""

    def __init__(self, begin: Callable[[int], SharedTransaction], clock: Clock, wait_ms: int) -> None:
        """begin: a new transaction; gets the milliseconds that are left to wait for others than these writers.

        wait_ms: the longest wait for both.
        """
        self._begin = begin
        self._clock = clock
        self._wait_ms = wait_ms
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[_Waiter] = deque()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one writer's connection, in a transaction. Returns once what the block changed is durable.

        Raises StoreBusyError when the turn does not come in time, what the block raises, and what the database raises.
        """
        shared = self._take_part()
        try:
            with shared.part():
                yield shared.connection
        finally:
            self._leave(shared)
        shared.wait_until_durable()

    @contextmanager
    def alone(self, wait_ms: int) -> Iterator[bool]:
        """Whether it is this thread's turn now; until the end of the block nobody writes then."""
        waiter = _Waiter(may_share=False)
        try:
            self._wait_for_turn(waiter, wait_ms)
        except StoreBusyError:
            yield False
            return
        if waiter.refusal is not None:
            yield False
            return
        try:
            yield True
        finally:
            self._pass_on()

    def _take_part(self) -> SharedTransaction:
        """Raises what the database raises."""
        began_at = self._clock.monotonic()
        waiter = _Waiter(may_share=True)
        self._wait_for_turn(waiter, self._wait_ms)
        if waiter.refusal is not None:
            raise waiter.refusal.with_traceback(None)
        waited_ms = int((self._clock.monotonic() - began_at) * 1000)
        return waiter.transaction or self._open(max(0, self._wait_ms - waited_ms))

    def _wait_for_turn(self, waiter: _Waiter, wait_ms: int) -> None:
        """Raises StoreBusyError when it does not come in time. It has not come when the waiter was refused."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            self._waiting.append(waiter)
        if not waiter.granted.wait(wait_ms / 1000):
            with self._lock:
                if not waiter.granted.is_set():
                    self._waiting.remove(waiter)
                    raise StoreBusyError()

    def _open(self, left_ms: int) -> SharedTransaction:
        """Raises what the database raises, in the threads of those that wait as well: what kept this writer from its
        transaction for seconds, such as another program's lock, would keep each of them as long once more."""
        try:
            return self._begin(left_ms)
        except BaseException as error:
            with self._lock:
                refused, self._waiting = self._waiting, deque()
                self._is_taken = False
            for waiter in refused:
                waiter.refusal = error
                waiter.granted.set()
            raise

    def _leave(self, shared: SharedTransaction) -> None:
        """The turn goes to the next writer, with the transaction if that may grow."""
        if not shared.is_over:
            if shared.num_writers < MAX_SHARING and self._hand_over(shared):
                return
            shared.commit()
        self._pass_on()

    def _hand_over(self, shared: SharedTransaction) -> bool:
        """False when nobody waits who could go on with it."""
        with self._lock:
            if not self._waiting or not self._waiting[0].may_share:
                return False
            waiter = self._waiting.popleft()
            waiter.transaction = shared
            waiter.granted.set()
            return True

    def _pass_on(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().granted.set()
            else:
                self._is_taken = False
