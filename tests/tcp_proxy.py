"""A TCP proxy whose connections end as networks end them: cut on one side, while the other is told nothing, or silent
for ever on both."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class TcpProxy:
    """Each connection to `port` of 127.0.0.1 leads to `target`, another port there."""

    def __init__(self, target: int) -> None:
        self.ends_after: int | None = None  # messages of the client, of each connection
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._swallows = False
        self._swallowed: set[socket.socket] = set()  # of which nothing is passed on
        self._silent: set[socket.socket] = set()  # of which nobody is told that they have ended
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._run(self._accept)

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        self.cut_all()
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for each in pair:
                each.close()

    def refuse(self) -> None:
        """Ends what there is; new connections end at once."""
        self.ends_after = 1
        self.cut_all()

    def cut_all(self) -> None:
        for pair in self._pairs:
            _cut(*pair)

    def cut_server_side(self, client: socket.socket) -> None:
        """The server takes that client's connection for ended; the client has it for alive."""
        self._cut_silently(self._pair_of(client)[1])

    def cut_client_side(self, client: socket.socket) -> None:
        """The other way round."""
        self._cut_silently(self._pair_of(client)[0])

    def swallow_present(self) -> None:
        """From now on nothing passes on the connections that there are, in neither direction, and nobody is told. Each
        side's kernel has the other for alive, as it has a machine whose programs stand still."""
        self._swallowed.update(end for pair in list(self._pairs) for end in pair)

    def swallow_all(self) -> None:
        """The same, also on connections to come."""
        self._swallows = True

    def _cut_silently(self, end: socket.socket) -> None:
        self._silent.add(end)
        _cut(end)

    def _pair_of(self, client: socket.socket) -> tuple[socket.socket, socket.socket]:
        return next(pair for pair in self._pairs if pair[0].getpeername() == client.getsockname())

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._pairs.append((client, server))
            self._run(self._pass_on, client, server, self.ends_after)
            self._run(self._pass_on, server, client, None)

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="proxy")  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, ends_after: int | None) -> None:
        number = 0
        with suppress(OSError):
            while read := source.recv(65536):
                number += 1
                if number == ends_after:
                    _cut(source, sink)
                    return
                if not self._swallows and source not in self._swallowed:
                    sink.sendall(read)
        if source not in self._silent:
            _cut(sink)


def _cut(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy(target: int) -> Iterator[TcpProxy]:
    proxy = TcpProxy(target)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
