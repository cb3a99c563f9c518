"""Who leads, and what becomes of somebody who wants to and cannot."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from errors import DatabaseUnreachableError, DataFolderInUseError
from optimizer.leadership import election as module
from optimizer.leadership.election import Election
from optimizer.storage.task_files import TaskFiles

LIMIT_S = 30


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(module, "RETRY_S", 0.01)


class Candidate:
    """Leads by the lock on a folder, as a system does."""

    def __init__(self, folder: Path) -> None:
        self._files = TaskFiles(folder)
        self.has_led = threading.Event()
        self.failures: list[Exception] = []  # of its next tries
        self.election = Election(self._files.is_locked, self._lead)

    def _lead(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self._files.acquire_lock()
        self.has_led.set()

    def end(self) -> None:
        self.election.stop()
        self._files.release_lock()


@pytest.fixture
def candidates(tmp_path: Path) -> Iterator[list[Candidate]]:
    candidates = [Candidate(tmp_path) for _ in range(4)]
    yield candidates
    for candidate in candidates:
        candidate.end()


def test_of_several_that_begin_together_one_leads_and_each_gets_its_turn(candidates: list[Candidate]) -> None:
    with ThreadPoolExecutor(len(candidates)) as threads:
        led = list(threads.map(lambda each: each.election.try_now(), candidates))
    if not any(led):  # each was in another's way
        assert candidates[0].election.try_now()
    standing = [each for each in candidates if not each.has_led.is_set()]
    assert len(standing) == len(candidates) - 1
    for each in standing:
        each.election.start()
    for _ in standing:
        (leader,) = [each for each in candidates if each.has_led.is_set()]
        candidates.remove(leader)
        leader.end()
        waiting = threading.Event()
        for _ in range(1000 * LIMIT_S):
            if any(each.has_led.is_set() for each in candidates):
                break
            waiting.wait(0.001)
        assert sum(each.has_led.is_set() for each in candidates) == 1


def test_what_hinders_the_first_try_is_raised(candidates: list[Candidate]) -> None:
    candidates[0].failures = [DatabaseUnreachableError("it is away")]
    with pytest.raises(DatabaseUnreachableError):
        candidates[0].election.try_now()


def test_what_hinders_a_later_try_is_remembered_and_tried_again(
    candidates: list[Candidate], caplog: pytest.LogCaptureFixture
) -> None:
    candidate = candidates[0]
    candidate.failures = [DatabaseUnreachableError("it is away"), DataFolderInUseError(), RuntimeError("a fault")]
    candidate.election.start()
    assert candidate.has_led.wait(LIMIT_S)
    candidate.election.stop()
    assert candidate.election.failure is None
    assert [record.message for record in caplog.records].count("event=election_failed") == 2
