"""Leaders for tests: a small system behind the real channel, and one that a test plays by hand."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from errors import EditConflictError, QuotaExceededError, TaskNotFoundError
from optimizer.leadership.channel_server import ChannelServer
from optimizer.leadership.messages import BEGUN, SOCKET, Result, connection_over, receive, send, socket_address
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.events import Event
from optimizer.views.task_view import Submission, TaskView
from tests.optimizer.values import processing_task


class SmallSystem:
    """A few of a system's methods. Those that are held wait until `go_on` is set."""

    def __init__(self) -> None:
        self.ownership = self
        self.editor = self
        self.keys = self
        self.deleted: list[str] = []
        self.held: list[str] = []
        self.left: list[tuple[str, BaseException | None]] = []
        self.submitted: dict[str, Any] = {}
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def default_model(self) -> str:
        return "tiny.en"

    def task(self, task_id: str) -> TaskView:
        if task_id not in self.submitted:
            raise TaskNotFoundError()
        return view_of(task_id)

    def status(self) -> dict[str, Any]:
        self.begun.set()
        assert self.go_on.wait(30)
        return {"version": "1"}

    def delete(self, task_id: str) -> None:
        if task_id in self.deleted:
            raise TaskNotFoundError()
        self.deleted.append(task_id)

    def edit(self, *_: Any) -> None:
        raise EditConflictError({"segment": 7})

    def ids_of(self, names: list[str]) -> list[str]:
        return sorted(names)

    def models(self) -> Any:
        return threading.Lock()  # cannot be sent

    def figures(self) -> Any:
        raise ZeroDivisionError

    def set_limits(self, **limits: int) -> Any:
        raise QuotaExceededError(f"{limits}", field="max_batch_size")

    @contextmanager
    def holding(self, owner: str, key: str) -> Iterator[str]:
        self.held.append(key)
        try:
            yield f"{owner}'s {key}"
        except BaseException as error:
            self.left.append((key, error))
            raise
        else:
            self.left.append((key, None))
        finally:
            self.held.remove(key)

    def submit(self, upload: Any, **_: Any) -> Submission:
        upload.commit()
        self.submitted[upload.task_id] = upload
        return Submission(view_of(upload.task_id), is_replay=False)


def view_of(task_id: str) -> TaskView:
    return TaskView(processing_task(id=task_id))


def wait_until(is_true: Any, limit_s: float = 30) -> None:
    pause, waited_s = threading.Event(), 0.0
    while not is_true():
        assert waited_s < limit_s
        pause.wait(0.01)
        waited_s += 0.01


def no_event(_: str, __: int) -> Event | None:
    return None


@contextmanager
def channel(folder: Path, system: Any, kept: Callable[[str, int], Event | None] = no_event) -> Iterator[ChannelServer]:
    files = TaskFiles(folder)
    files.make_folders()
    server = ChannelServer(folder, files, kept)
    server.start(system)
    try:
        yield server
    finally:
        server.stop()


class PlayedLeader:
    """Each call is given to `play` with its connection, which is closed afterwards: the leader died."""

    def __init__(self, folder: Path, play: Callable[[Connection, Any], None]) -> None:
        self.calls: list[Any] = []
        self._play = play
        self._folder = folder
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with socket_address(folder) as address:
            self._listener.bind(address)
        self._listener.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with connection_over(peer) as connection:
                try:
                    call = receive(connection)
                except EOFError:
                    continue
                self.calls.append(call)
                self._play(connection, call)

    def stop(self) -> None:
        os.unlink(self._folder / SOCKET)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def dies_before(_: Connection, __: Any) -> None:
    """It took the call and did nothing."""


def dies_in_between(connection: Connection, _: Any) -> None:
    send(connection, BEGUN)


def answers(value: Any) -> Callable[[Connection, Any], None]:
    def play(connection: Connection, _: Any) -> None:
        send(connection, BEGUN)
        send(connection, Result(value))

    return play
