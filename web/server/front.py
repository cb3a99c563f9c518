"""The front: one thread that accepts connections and waits for all clients, so that no server thread has to.

A server thread gets a request when its head, and a small body, have arrived; what the client does not take of the
answer comes back to the front. So a client that is idle or slow holds a descriptor and a few kilobytes, for some time.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Collection, Iterable
from concurrent.futures import wait
from functools import partial
from typing import Any

from gunicorn.workers.gthread import PollableMethodQueue

from setting_values import Network
from web.server.acceptor import Acceptor
from web.server.client_socket import ClientSocket, DeferredBytes
from web.server.connection import Connection, Outcome, Phase
from web.server.lanes import Lanes
from web.server.pace import Pace
from web.server.refusals import BUSY, HEAD_TOO_LONG, LINE_TOO_LONG, STOPPING, TOO_SLOW, Refusal
from web.server.request_handler import RequestHandler
from web.server.request_head import HeadTooLongError, Lane, read_head

log = logging.getLogger(__name__)

HEAD_TIMEOUT_S = 10.0  # from the first byte of a request; also for a new connection that sends none
BODY_TIMEOUT_S = 30.0  # of a small body
KEEPALIVE_S = 5.0
LINGER_S = 2.0  # after an answer with `close`, so that a client that is still sending sees it; without a byte
MAX_LINGER_S = 10.0
MAX_THROWN_AWAY_BYTES = 64_000_000
STOP_IDLE_S = 0.5  # how long a stopping server keeps connections open on which nothing happens
BREAK_OFF_S = 1.0
SWEEP_S = 0.5
_RECEIVE_BYTES = 64 * 1024


class Front:
    """One thread, except for `wake`."""

    def __init__(
        self,
        cfg: Any,
        listeners: Iterable[Any],
        lanes: Lanes,
        handler: RequestHandler,
        *,
        limit: int,
        proxies: Collection[Network],
    ) -> None:
        """limit: connections at a time; the one that has been waiting for its client the longest makes room.
        proxies: those that send everybody's requests, so that their share is not limited."""
        self._cfg = cfg
        self._proxies = proxies
        self._lanes = lanes
        self._handler = handler
        self._limit = limit
        self._deferred = DeferredBytes()
        self._poller = selectors.DefaultSelector()
        self._connections: dict[Connection, None] = {}  # the longest in its phase first
        self._is_stopping = False
        self._idle_until = 0.0
        self._next_sweep = 0.0
        self._last_sweep = time.monotonic()
        self._calls = PollableMethodQueue()
        self._calls.init()
        self._poller.register(self._calls.fileno(), selectors.EVENT_READ, self._run_calls)
        self._acceptor = Acceptor(listeners, self._poller, self._add, self._make_room)

    # --- the worker ------------------------------------------------------------------------------------------------

    def refuse_requests(self) -> None:
        """From here on no new request is served; `begin_to_stop` is due. Any thread, and a signal's handler."""
        self._is_stopping = True
        self._calls.defer(_nothing)

    def run_once(self, timeout_s: float) -> None:
        """Waits for clients and for server threads, and goes on with those that have moved."""
        for key, _ in self._poller.select(min(timeout_s, SWEEP_S)):
            if isinstance(key.data, Connection):
                self._go_on(key.data)
            else:
                key.data()
        now = time.monotonic()
        self._acceptor.go_on(now)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            self._sweep(now)

    def begin_to_stop(self) -> None:
        """New requests are refused, and clients that send nothing are not waited for. Those that are served go on."""
        self._is_stopping = True
        soon = self._idle_until = time.monotonic() + STOP_IDLE_S
        for connection in self._connections:
            if connection.phase in (Phase.IDLE, Phase.RECEIVING, Phase.LINGERING):
                connection.deadline = min(connection.deadline, soon)

    @property
    def has_work(self) -> bool:
        """While it stops: whether a request is served, or somebody may still be sending one."""
        if time.monotonic() < self._idle_until:
            return bool(self._connections)
        return any(connection.phase in (Phase.SERVED, Phase.SENDING) for connection in self._connections)

    def close(self) -> None:
        """Breaks off what is still served, so that its thread can clear up. Waits for a moment for that."""
        self._acceptor.close()
        served = [connection for connection in self._connections if connection.phase is Phase.SERVED]
        for connection in self._connections.keys() - set(served):
            self._drop(connection)
        for connection in served:
            connection.sock.break_off()
        wait([connection.future for connection in served if connection.future is not None], BREAK_OFF_S)
        self._lanes.shut_down()
        self._poller.close()  # not `_calls`: requests that still end would write into the next file of that number

    # --- connections -----------------------------------------------------------------------------------------------

    def _run_calls(self) -> None:
        self._calls.run_callbacks(None)

    def _add(self, accepted: socket.socket, peer: Any, server: Any) -> None:
        if len(self._connections) >= self._limit and not self._make_room():
            self._turn_away(accepted)
            return
        connection = Connection(self._cfg, ClientSocket(accepted, self._deferred), peer, server, self._proxies)
        self._connections[connection] = None
        self._poller.register(connection.sock, selectors.EVENT_READ, connection)
        self._await(connection, Phase.IDLE, HEAD_TIMEOUT_S)
        self._go_on(connection)  # most clients have sent their request already

    def _turn_away(self, accepted: socket.socket) -> None:
        with accepted:
            accepted.setblocking(False)
            try:
                accepted.send(BUSY.encode())
            except OSError:
                return  # it has gone

    def _make_room(self) -> bool:
        """Closes the connection that has waited for its client the longest. False when all of them are served."""
        for connection in self._connections:
            if connection.phase in (Phase.IDLE, Phase.RECEIVING, Phase.LINGERING):
                if connection.phase is Phase.RECEIVING:
                    self._refuse(connection, BUSY)
                if connection in self._connections:
                    self._drop(connection)
                return True
        return False

    def _await(self, connection: Connection, phase: Phase, timeout_s: float) -> None:
        connection.phase = phase
        connection.deadline = time.monotonic() + (min(timeout_s, STOP_IDLE_S) if self._is_stopping else timeout_s)
        self._connections[connection] = self._connections.pop(connection)  # the last in the order

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection]
        self._unregister(connection)
        connection.sock.close()

    def _reset(self, connection: Connection) -> None:
        del self._connections[connection]
        self._unregister(connection)
        connection.sock.reset()

    def _unregister(self, connection: Connection) -> None:
        try:
            self._poller.unregister(connection.sock)
        except (KeyError, ValueError):
            return  # it was not registered

    def _go_on(self, connection: Connection) -> None:
        try:
            match connection.phase:
                case Phase.IDLE | Phase.RECEIVING:
                    self._receive(connection)
                case Phase.SENDING:
                    self._send(connection)
                case Phase.LINGERING:
                    self._throw_away(connection)
        except BlockingIOError:
            return
        except OSError:
            if connection in self._connections:
                self._drop(connection)

    def _receive(self, connection: Connection) -> None:
        data = connection.sock.receive_now(_RECEIVE_BYTES)
        if not data:
            self._drop(connection)
            return
        if connection.phase is Phase.IDLE:
            self._await(connection, Phase.RECEIVING, HEAD_TIMEOUT_S)
        connection.received += data
        self._read(connection)

    def _read(self, connection: Connection) -> None:
        """Serves the request if enough of it is here."""
        try:
            if connection.head is None:
                connection.head = read_head(connection.received)
                if connection.head is not None and connection.head.nbytes > len(connection.received):
                    connection.deadline = time.monotonic() + BODY_TIMEOUT_S
        except HeadTooLongError as error:
            self._refuse(connection, LINE_TOO_LONG if error.is_line else HEAD_TOO_LONG)
            return
        if connection.head is not None and connection.head.nbytes <= len(connection.received):
            self._serve(connection, connection.head.lane)

    def _serve(self, connection: Connection, lane: Lane) -> None:
        if self._is_stopping:
            self._refuse(connection, STOPPING)
            return
        connection.hand_over()
        future = self._lanes.try_submit(lane, connection.client, partial(self._handler.handle, connection, lane))
        if future is None:
            self._refuse(connection, BUSY)
            return
        self._unregister(connection)
        self._await(connection, Phase.SERVED, BODY_TIMEOUT_S)
        connection.future = future
        future.add_done_callback(lambda _: self._calls.defer(self._after_request, connection, lane))

    def _after_request(self, connection: Connection, lane: Lane) -> None:
        self._lanes.forget(lane, connection.client)
        future, connection.future = connection.future, None
        if future is None or future.cancelled():
            self._register(connection, selectors.EVENT_READ)
            self._refuse(connection, BUSY)
            return
        connection.outcome = future.result()
        if connection.outcome is Outcome.TAKEN:
            del self._connections[connection]
        elif connection.outcome is Outcome.DROP:
            self._reset(connection)
        else:
            self._register(connection, selectors.EVENT_READ)
            self._send_rest(connection)

    def _register(self, connection: Connection, events: int) -> None:
        self._unregister(connection)
        self._poller.register(connection.sock, events, connection)

    def _send_rest(self, connection: Connection) -> None:
        if connection.sock.has_unsent:
            connection.sock.outgoing = Pace()
            self._await(connection, Phase.SENDING, float("inf"))
            self._register(connection, selectors.EVENT_WRITE)
        else:
            self._after_answer(connection)

    def _send(self, connection: Connection) -> None:
        connection.sock.send_unsent_now()
        if not connection.sock.has_unsent:
            self._register(connection, selectors.EVENT_READ)
            self._after_answer(connection)

    def _after_answer(self, connection: Connection) -> None:
        if connection.outcome is Outcome.CLOSE:
            self._linger(connection)
            return
        connection.take_back()
        is_begun = bool(connection.received)
        self._await(connection, *((Phase.RECEIVING, HEAD_TIMEOUT_S) if is_begun else (Phase.IDLE, KEEPALIVE_S)))
        if is_begun:
            self._read(connection)

    def _refuse(self, connection: Connection, refusal: Refusal) -> None:
        connection.outcome = Outcome.CLOSE
        try:
            connection.sock.send_or_keep(refusal.encode("" if connection.head is None else connection.head.path))
        except OSError:
            self._drop(connection)
            return
        self._send_rest(connection)

    def _linger(self, connection: Connection) -> None:
        """RFC 9112, 9.6. Closing at once would take the answer away from a client that is still sending."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
            return
        connection.lingers_until = time.monotonic() + MAX_LINGER_S
        self._await(connection, Phase.LINGERING, LINGER_S)

    def _throw_away(self, connection: Connection) -> None:
        data = connection.sock.receive_now(_RECEIVE_BYTES)
        connection.thrown_away += len(data)
        if not data or connection.thrown_away > MAX_THROWN_AWAY_BYTES:
            self._drop(connection)
        elif not self._is_stopping:
            connection.deadline = min(time.monotonic() + LINGER_S, connection.lingers_until)

    def _sweep(self, now: float) -> None:
        elapsed_s, self._last_sweep = now - self._last_sweep, now
        for connection in list(self._connections):
            if connection.phase is Phase.SENDING:
                connection.sock.record_waiting(elapsed_s)
                if connection.sock.outgoing.is_used_up:
                    log.info("event=slow_client_dropped phase=sending")
                    self._reset(connection)
            elif now >= connection.deadline:
                self._give_up(connection)

    def _give_up(self, connection: Connection) -> None:
        if connection.phase is Phase.SERVED:
            if connection.future is not None:
                connection.future.cancel()  # nothing happens once a thread has it
        elif connection.phase is Phase.RECEIVING:
            self._refuse(connection, STOPPING if self._is_stopping else TOO_SLOW)
        else:
            self._drop(connection)


def _nothing() -> None:
    """Wakes the front."""
