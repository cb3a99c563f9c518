"""How an engine learns that a task may have been told to stop, without asking all of them between two steps."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from tests.whisper_core.worker.pipe import Server, task
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.worker.command_loop import CommandLoop
from whisper_core.worker.inbox import WorkerInbox
from whisper_core.worker.messages import Command, Shutdown, StopTask

FIRST, SECOND = (task(Path("samples.pcm"), number=number) for number in (1, 2))


class Inbox(WorkerInbox):
    """One that reads, with the server's end of its pipe."""

    def __init__(self) -> None:
        ours, self._theirs = multiprocessing.Pipe()
        self.server = Server(ours)
        super().__init__(self._theirs, lambda: None)
        self.start()

    def receive(self, *commands: Command) -> None:
        """Returns once they have been read. Whatever is told to stop is FIRST."""
        self.server.send(*commands, SECOND)
        while self.next_command(waits=True) != SECOND:
            pass

    def close(self) -> None:
        self.stop()
        self.server.connection.close()
        self._theirs.close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    inbox.receive(FIRST)
    yield inbox
    inbox.close()


@pytest.mark.parametrize("at_window", [False, True])
def test_the_number_of_stops_grows_with_each(inbox: Inbox, at_window: bool) -> None:
    before = inbox.num_stops()
    inbox.receive(StopTask(FIRST.task_id, FIRST.attempt_id, at_window))
    assert inbox.num_stops() == before + 1
    assert inbox.should_preempt(FIRST.attempt_id) == at_window
    inbox.receive(StopTask(FIRST.task_id, FIRST.attempt_id))
    assert inbox.num_stops() == before + 2
    assert inbox.should_stop(FIRST.attempt_id)


def test_a_stop_that_concerns_nobody_does_not_count(inbox: Inbox) -> None:
    before = inbox.num_stops()
    inbox.remove_task(FIRST.attempt_id)
    inbox.receive(StopTask(FIRST.task_id, FIRST.attempt_id))
    assert inbox.num_stops() == before


def test_a_shutdown_counts_since_it_stops_all_tasks(inbox: Inbox) -> None:
    before = inbox.num_stops()
    inbox.server.send(Shutdown())
    while not inbox.is_exhausted:
        inbox.next_command(waits=True)
    assert inbox.num_stops() == before + 1
    assert inbox.should_stop(FIRST.attempt_id)


def test_the_worker_has_an_engine_watch_the_number_if_it_can(inbox: Inbox) -> None:
    engine = mock.Mock(spec=BatchEngine)
    CommandLoop(engine, inbox, mock.Mock())
    engine.watch_stops.assert_called_once_with(inbox.num_stops)
