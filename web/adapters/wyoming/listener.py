"""The port on which the Wyoming protocol is spoken, and a thread for each of its clients."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from errors import InvalidSettingsError, StartError
from web.adapters.waiting import WaitingRoom
from web.adapters.wyoming.session import Session
from web.http.client_address import share_key
from web.http.system_port import SystemPort

log = logging.getLogger(__name__)

MAX_CLIENTS = 64  # at a time; a client of a voice assistant stays for one sentence
SHARE = 2  # one address gets at most one part in so many of them
STOP_S = 2.0  # for answers that are being sent when the server stops
PAUSE_S = 1.0  # when nobody can be accepted, such as for want of descriptors
_BACKLOG = 64


class WyomingListener:
    """`start` and `stop` once each."""

    def __init__(self, system: SystemPort, room: WaitingRoom) -> None:
        self._system = system
        self._room = room
        self._socket: socket.socket | None = None
        self._clients: dict[socket.socket, str | None] = {}  # with whose share each uses up
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(MAX_CLIENTS, thread_name_prefix="wyoming")
        self._acceptor = threading.Thread(target=self._accept, name="wyoming-accept")

    @property
    def port(self) -> int:
        """Once it is started."""
        if self._socket is None:
            raise ValueError("it is not started")
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Raises InvalidSettingsError where there are accounts and nobody owns these tasks, and StartError."""
        settings = self._system.settings
        if self._system.accounts.are_in_force() and not settings.wyoming_owner:
            raise InvalidSettingsError(
                "WYOMING_PORT is set, and there are accounts. The Wyoming protocol has no keys, so WYOMING_OWNER has "
                "to name the account whose tasks these are. Or set WYOMING_PORT=0."
            )
        self._socket = _listening(settings.wyoming_host, settings.wyoming_port)
        self._acceptor.start()
        log.info("event=wyoming_listening host=%s port=%d", settings.wyoming_host, self.port)
        if not _is_loopback(self._socket.getsockname()[0]):
            log.warning(
                "event=wyoming_open: whoever reaches WYOMING_PORT may send recordings; the protocol has no keys"
            )

    def stop(self) -> None:
        """Ends all connections. Those that wait for a text have to be told before, by `WaitingRoom.close`."""
        if self._socket is None:
            return
        self._stopping.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._acceptor.join()
        self._socket.close()
        with self._lock:
            self._shut(socket.SHUT_RD)  # wakes who reads from it; an answer may still be sent
            self._left.wait_for(lambda: not self._clients, STOP_S)
            self._shut(socket.SHUT_RDWR)  # a client that does not take its answer must not keep the server from ending
        self._threads.shutdown()

    def _shut(self, how: int) -> None:
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(how)

    def _accept(self) -> None:
        is_told = False
        while self._socket is not None and not self._stopping.is_set():
            try:
                connection, address = self._socket.accept()
            except ConnectionAbortedError:  # by the client, before its turn
                continue
            except OSError as error:  # it may pass: whoever waits is accepted then
                if not is_told and not self._stopping.is_set():
                    log.error("event=wyoming_cannot_accept reason=%r", error.strerror)
                is_told = True
                self._stopping.wait(PAUSE_S)
                continue
            is_told = False
            if self._has_taken(connection, share_key(str(address[0]), self._system.settings.proxy_networks)):
                self._threads.submit(self._serve, connection, str(address[0]))
            else:
                connection.close()

    def _has_taken(self, connection: socket.socket, client: str | None) -> bool:
        """Unless there are too many already, or too many of that client."""
        with self._lock:
            of_client = 0 if client is None else Counter(self._clients.values())[client]
            has_room = len(self._clients) < MAX_CLIENTS and of_client < max(1, MAX_CLIENTS // SHARE)
            if has_room:
                self._clients[connection] = client
        return has_room

    def _serve(self, connection: socket.socket, address: str) -> None:
        try:
            Session(self._system, self._room, connection, address).run()
        finally:
            with self._lock:
                self._clients.pop(connection, None)
                self._left.notify_all()
            connection.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host), backlog=_BACKLOG)
    except OSError as error:
        raise StartError(
            f"Cannot listen on WYOMING_HOST={host} port {port}: {error.strerror}. Choose another WYOMING_PORT; 0: none."
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
