"""The server's end of a worker's pipe, the engines to start a worker with, and tasks to send it."""

from __future__ import annotations

from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from whisper_core.text.options import TranscribeOptions
from whisper_core.worker import messages as protocol
from whisper_core.worker.messages import RunTask

WAIT_S = 30.0
FAKE = "tests.fake_engine:FakeEngine"
PARALLEL = "tests.fake_engine:ParallelFakeEngine"
SCRIPTED = "tests.whisper_core.worker.scripted_engine:ScriptedEngine"
ENDLESS = "endless window_s=0.01"
R = TypeVar("R")


class Server:
    """The server's end of the pipe."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def send(self, *commands: protocol.Command) -> None:
        for command in commands:
            self.connection.send_bytes(protocol.encode(command))

    def receive(self) -> protocol.Command | protocol.Report:
        """The next report. Raises EOFError when the worker has closed its end."""
        assert self.connection.poll(WAIT_S), "the worker says nothing"
        return protocol.decode(self.connection.recv_bytes())

    def wait_for(self, kind: type[R]) -> R:
        """The next report of a kind; others are skipped."""
        while not isinstance(report := self.receive(), kind):
            pass
        return report

    def remaining(self) -> list[protocol.Command | protocol.Report]:
        """Everything up to the worker's end."""
        reports = []
        try:
            while True:
                reports.append(self.receive())
        except EOFError:
            return reports


def task(path: Path, prompt: str | None = None, number: int = 1) -> RunTask:
    options = TranscribeOptions(initial_prompt=prompt)
    return RunTask(f"task-{number}", f"attempt-{number}", "tiny", str(path), options)


def ends(reports: Iterable[object]) -> dict[str, str]:
    """How each task ended, by id; the same task never ends twice."""
    kinds = (protocol.TaskDone, protocol.TaskStopped, protocol.TaskFailed)
    ended = [report for report in reports if isinstance(report, kinds)]
    assert len({report.task_id for report in ended}) == len(ended)
    return {report.task_id: type(report).__name__ for report in ended}


def until_ended(server: Server, count: int) -> dict[str, str]:
    """How `count` tasks end, as `ends` has it."""
    reports: list[object] = []
    while len(ends(reports)) < count:
        reports.append(server.receive())
    return ends(reports)
