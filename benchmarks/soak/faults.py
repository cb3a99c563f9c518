"""What goes wrong during a soak. Each fault is over when its function returns, except for what a kill leaves behind."""

from __future__ import annotations

import random
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import psutil

from benchmarks.load.server import LoadServer

LOCK_S = 8.0  # longer than a writer waits
STALL_S = 4.0
FULL_S = 6.0
CUT_BYTES = 40_000
ANSWER_LIMIT_S = 30.0
_PAUSE = threading.Event()  # never set: waiting on it is a bounded sleep

Fault = Callable[[LoadServer, random.Random], None]


def kill_web(server: LoadServer, _: random.Random) -> None:
    """The process that answers; the master starts another one."""
    _kill(server.web)


def kill_device(server: LoadServer, chance: random.Random) -> None:
    """The process that computes."""
    workers = device_processes(server)
    if workers:
        _kill(chance.choice(workers))


def kill_everything(server: LoadServer, _: random.Random) -> None:
    """As a power cut, and then a start. Nothing that was in memory only is left."""
    server.kill()
    server.start()


def restart(server: LoadServer, _: random.Random) -> None:
    server.stop()
    server.start()


def stall_web(server: LoadServer, _: random.Random) -> None:
    _stall(server.web)


def stall_device(server: LoadServer, chance: random.Random) -> None:
    workers = device_processes(server)
    if workers:
        _stall(chance.choice(workers))


def cut_upload(server: LoadServer, chance: random.Random) -> None:
    """Ten clients that disappear in the middle of their uploads."""
    head = (
        "POST /api/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=cut\r\n"
        "Content-Length: 1000000\r\n\r\n"
        '--cut\r\nContent-Disposition: form-data; name="file"; filename="cut.wav"\r\n\r\n'
    )
    address = server.address
    for _ in range(10):
        with suppress(OSError), socket.create_connection((address.host, address.port), ANSWER_LIMIT_S) as connection:
            connection.sendall(head.encode() + bytes(chance.randrange(CUT_BYTES)))


def lock_database(server: LoadServer, _: random.Random) -> None:
    """Another program writes for longer than the server waits."""
    other = sqlite3.connect(server.data_dir / "tasks.db", timeout=ANSWER_LIMIT_S, isolation_level=None)
    with closing(other), suppress(sqlite3.OperationalError):
        other.execute("BEGIN IMMEDIATE")
        _PAUSE.wait(LOCK_S)
        other.execute("ROLLBACK")


def fill_disk(server: LoadServer, _: random.Random) -> None:
    """All that is left of the data folder's file system. Only for one of its own; see `has_small_disk`."""
    filler = server.data_dir.parent / "filler"
    try:
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        _PAUSE.wait(FULL_S)
    finally:
        filler.unlink(missing_ok=True)


KILLS: Mapping[str, Fault] = {
    "kill -9 of the web process": kill_web,
    "kill -9 of the device's process": kill_device,
    "kill -9 of everything": kill_everything,
}
FAULTS: Mapping[str, Fault] = {
    **KILLS,
    "restart": restart,
    "SIGSTOP of the web process": stall_web,
    "SIGSTOP of the device's process": stall_device,
    "ten uploads cut": cut_upload,
    "database locked": lock_database,
}
FULL_DISK: Mapping[str, Fault] = {"disk full": fill_disk}


def device_processes(server: LoadServer) -> list[psutil.Process]:
    """Empty while there is none."""
    try:
        return [child for child in server.web.children() if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def has_small_disk(folder: Path, most_bytes: int = 4 << 30) -> bool:
    """Whether the folder is on a file system that may be filled: a small one that is mounted for it."""
    return folder.is_mount() and psutil.disk_usage(str(folder)).total <= most_bytes


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)


def _stall(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGSTOP)
        _PAUSE.wait(STALL_S)
        process.send_signal(signal.SIGCONT)
