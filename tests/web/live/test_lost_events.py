"""Events that never arrive: a client sees the gap, asks again, and ends with what the API says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.web.fake_system import FakeSystem
from tests.web.live_client import LiveClient

LIMIT_S = 60.0


class LossyProxy:
    """Between one client and the server. Swallows whole messages to the client for which `is_lost` says so."""

    def __init__(self, server_port: int, is_lost: Callable[[bytes], bool]) -> None:
        self._is_lost = is_lost
        self.lost: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._server = socket.create_connection(("127.0.0.1", server_port), timeout=LIMIT_S)
        self._client: socket.socket | None = None
        self._threads = [threading.Thread(target=work) for work in (self._pass_on, self._pass_back)]

    def __enter__(self) -> LossyProxy:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        for thread in self._threads:
            thread.join(LIMIT_S)
        for each in (self._listener, self._server, self._client):
            if each is not None:
                each.close()

    def cut(self) -> None:
        for each in (self._server, self._client):
            if each is not None:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _pass_on(self) -> None:
        self._client, _ = self._listener.accept()
        self._threads[1].start()
        with suppress(OSError):
            while data := self._client.recv(65536):
                self._server.sendall(data)

    def _pass_back(self) -> None:
        assert self._client is not None
        with suppress(OSError), self._server.makefile("rb") as received:
            while (line := received.readline()) != b"\r\n":
                self._client.sendall(line)
            self._client.sendall(line)
            while head := received.read(2):
                extended = received.read({126: 2, 127: 8}.get(head[1], 0))
                payload = received.read(int.from_bytes(extended) if extended else head[1])
                if self._is_lost(payload):
                    self.lost.append(payload)
                else:
                    self._client.sendall(head + extended + payload)


class Follower:
    """A client as docs/api.md wants it. segments: what it shows."""

    def __init__(self, task_id: str) -> None:
        self._task_id = task_id
        self.segments: list[dict[str, Any]] = []
        self.seq = 0
        self.gaps = 0

    def connect(self, client: LiveClient) -> None:
        self._client = client
        client.ask("watch", {"id": self._task_id, "from": len(self.segments)})

    def take(self, event: dict[str, Any]) -> None:
        if event["seq"] < self.seq:
            return
        if event["from"] > len(self.segments):
            self.gaps += 1
            self.connect(self._client)
            return
        self.seq = event["seq"]
        self.segments[event["from"] :] = event["segments"]

    def follow_until(self, seq: int) -> None:
        while self.seq < seq:
            self.take(self._client.next("segments"))


@pytest.mark.proves("F45")
def test_a_client_that_lost_events_ends_with_what_the_api_says(
    live_port: int, system: FakeSystem, client: FlaskClient
) -> None:
    """Two events are swallowed on the way, and then the connection is cut while more of them come."""
    task = system.add()
    follower = Follower(task.id)
    is_losing = threading.Event()

    def is_lost(payload: bytes) -> bool:
        return is_losing.is_set() and payload.startswith((b'42["segments"', b'42["progress"'))

    with LossyProxy(live_port, is_lost) as proxy, LiveClient(proxy.port) as first, LiveClient(live_port) as witness:
        witness.ask("watch", {"id": task.id})
        follower.connect(first)
        system.finish_window(task.id, " One.")
        follower.follow_until(1)
        is_losing.set()
        for number, text in ((2, " Two."), (3, " Three.")):
            system.finish_window(task.id, text)
            while witness.next("segments")["seq"] < number:
                continue
        while len([lost for lost in proxy.lost if b"segments" in lost]) < 2:
            first.ask("watch", {"id": "nothing"})
        is_losing.clear()
        system.finish_window(task.id, " Four.")
        follower.follow_until(4)
        assert follower.gaps == 1
        proxy.cut()
        system.finish_window(task.id, " Five.")
    with LiveClient(live_port) as second:
        follower.connect(second)
        follower.follow_until(5)
    shown = client.get(f"/api/tasks/{task.id}/transcript").get_json()
    assert "".join(segment["text"] for segment in follower.segments) == shown["text"] == " One. Two. Three. Four. Five."
    assert client.get(f"/api/tasks/{task.id}").get_json()["task"]["windows_done"] == follower.seq == 5
    assert json.dumps(follower.segments) == json.dumps(shown["segments"])
