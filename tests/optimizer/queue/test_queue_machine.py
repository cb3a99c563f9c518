"""The queue against a model of it: whatever happens in whatever order, the database, the index and the model agree."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from errors import ConflictError, StoreBusyError
from optimizer.common import failpoints
from optimizer.tasks.task import ErrorInfo, Priority, Task, TaskFilter, TaskMemory, TaskStatus
from tests.databases import Databases
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import OOM, RETRY_DELAY_S, Queue, window
from tests.properties import budget

MAX_ATTEMPTS = 2
P, R, W = TaskStatus.PROCESSING, TaskStatus.RETRYING, TaskStatus.PENDING


@dataclass
class Expected:
    """A task in the model."""

    order: int  # its place, lower first
    priority: Priority
    status: TaskStatus = W
    charged: int = 0
    interrupts: int = 0
    last_death: datetime | None = None
    windows_at_claim: int = 0
    token: str | None = None
    delay_end: float = 0.0  # monotonic seconds
    windows: int = 0
    errors: list[str] = field(default_factory=list)
    is_prepared: bool = True

    @property
    def is_waiting(self) -> bool:
        return self.status in (W, R)


class QueueMachine(RuleBasedStateMachine):
    ids = Bundle("ids")
    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.queue = Queue(self.folder, self.clock)
        self.model: dict[str, Expected] = {}
        self.keys: dict[str, str] = {}
        self.used_tokens: set[str] = set()
        self.arrivals = 0

    def teardown(self) -> None:
        failpoints.disarm()
        self.queue.store.close()
        shutil.rmtree(self.folder)

    def _next(self) -> int:
        self.arrivals += 1
        return self.arrivals

    # What people do

    @rule(target=ids, priority=st.sampled_from(Priority))
    def submit(self, priority: Priority) -> str:
        task_id = f"t{self._next()}"
        self.queue.submit(task_id, priority=priority, max_attempts=MAX_ATTEMPTS)
        self.model[task_id] = Expected(self.arrivals, priority)
        return task_id

    @rule(key=st.sampled_from(["k1", "k2"]))
    def submit_with_key(self, key: str) -> None:
        task_id = f"t{self._next()}"
        task = self.queue.submit(task_id, idempotency_key=key, max_attempts=MAX_ATTEMPTS)
        known = self.keys.get(key)
        if known in self.model:
            assert task.id == known
        else:
            assert task.id == task_id
            self.keys[key] = task_id
            self.model[task_id] = Expected(self.arrivals, Priority.NORMAL)

    @rule(task_id=ids)
    def cancel(self, task_id: str) -> None:
        expected = self.model.get(task_id)
        if expected is None:
            return
        if expected.status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
            with pytest.raises(ConflictError):
                self.queue.manager.cancel(task_id)
        else:
            self.queue.manager.cancel(task_id)
            expected.status, expected.token = TaskStatus.CANCELLED, None

    @rule(task_id=ids)
    def retry(self, task_id: str) -> None:
        expected = self.model.get(task_id)
        if expected is None:
            return
        if expected.status not in (TaskStatus.CANCELLED, TaskStatus.FAILED):
            with pytest.raises(ConflictError):
                self.queue.manager.retry(task_id)
            return
        self.queue.manager.retry(task_id)
        expected.status, expected.order = W, self._next()
        expected.charged = expected.interrupts = expected.windows = 0
        expected.is_prepared = False

    @rule(task_id=ids)
    def prepare(self, task_id: str) -> None:
        expected = self.model.get(task_id)
        if expected is not None and self.queue.manager.mark_prepared(task_id, 60.0) is not None:
            assert expected.is_waiting
            expected.is_prepared = True

    @rule(task_id=ids, priority=st.sampled_from(Priority))
    def set_priority(self, task_id: str, priority: Priority) -> None:
        expected = self.model.get(task_id)
        if expected is not None and expected.is_waiting:
            self.queue.manager.set_priority(task_id, priority)
            expected.priority = priority

    @rule(task_id=consumes(ids))
    def delete(self, task_id: str) -> None:
        if task_id in self.model:
            self.queue.manager.delete(task_id)
            del self.model[task_id]

    # What devices do

    @rule(target=tokens, index=st.integers(0, 5))
    def claim(self, index: int) -> tuple[str, str]:
        """Any task that may run; when there is none, an unknown one."""
        order = self._ready_order()
        task_id = order[index % len(order)] if order else "nobody"
        task = self.queue.manager.claim(task_id, "cpu", 1)
        if task_id == "nobody":
            assert task is None
            return ("nobody", "none")
        assert task is not None
        assert task.lease_token not in self.used_tokens
        self.used_tokens.add(task.lease_token or "")
        expected = self.model[task_id]
        expected.status, expected.token = P, task.lease_token
        expected.charged += 1
        expected.windows_at_claim = expected.windows
        return (task_id, task.lease_token or "")

    @rule(task_id=ids)
    def claim_a_task_that_may_not_run(self, task_id: str) -> None:
        if task_id not in self._ready_order():
            assert self.queue.manager.claim(task_id, "cpu", 1) is None

    @rule(lease=tokens)
    def save_window(self, lease: tuple[str, str]) -> None:
        expected = self._holder(lease)
        index = expected.windows if expected else 0
        saved = self.queue.manager.save_window(*lease, window(index, of=1000))
        assert (saved is not None) == (expected is not None)
        if expected is not None:
            expected.windows += 1
            expected.interrupts = 0

    @rule(lease=tokens)
    def complete(self, lease: tuple[str, str]) -> None:
        expected = self._holder(lease)
        done = self.queue.manager.complete(*lease, language="en", text="x", result_sha256="f" * 64, memory=TaskMemory())
        assert (done is not None) == (expected is not None)
        if expected is not None:
            expected.status, expected.token, expected.windows = TaskStatus.COMPLETED, None, 0

    @rule(lease=tokens, is_retryable=st.booleans())
    def fail(self, lease: tuple[str, str], is_retryable: bool) -> None:
        expected = self._holder(lease)
        failed = self.queue.manager.fail(*lease, OOM, is_retryable=is_retryable)
        assert (failed is not None) == (expected is not None)
        if expected is None:
            return
        expected.token = None
        expected.errors.append(OOM.code)
        if is_retryable and expected.charged < MAX_ATTEMPTS:
            expected.status, expected.order = R, self._next()
            expected.delay_end = self.clock.monotonic() + RETRY_DELAY_S * expected.charged
        else:
            expected.status = TaskStatus.FAILED

    @rule(lease=tokens)
    def requeue(self, lease: tuple[str, str]) -> None:
        expected = self._holder(lease)
        error = ErrorInfo("worker_died", "It died.")
        back = self.queue.manager.requeue(*lease, error)
        assert (back is not None) == (expected is not None)
        if expected is not None:
            self._expect_requeued(expected, "worker_died", is_only_suspect=False)

    # What the world does

    @rule(seconds=st.sampled_from([1.0, 9.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-3600.0, 3600.0]))
    @precondition(lambda self: not any(task.status is R for task in self.model.values()))
    def clock_jumps(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule()
    def promote(self) -> None:
        due = [task for task in self.model.values() if task.status is R and task.delay_end <= self.clock.monotonic()]
        assert self.queue.manager.end_delays() == len(due)
        for task in due:
            task.status = W

    @rule()
    def crash_and_restart(self) -> None:
        """The server dies. Against the only task that had not finished a window this is counted."""
        self.queue.store.close()
        self.queue = Queue(self.folder, self.clock)
        interrupted = [task for task in self.model.values() if task.status is P]
        suspects = [task for task in interrupted if task.windows == task.windows_at_claim]
        for expected in interrupted:
            self._expect_requeued(expected, "interrupted", is_only_suspect=suspects == [expected])

    @rule(task_id=ids, where=st.sampled_from(["store.begin", "store.before_commit"]))
    def a_commit_fails(self, task_id: str, where: str) -> None:
        """Nothing must have happened: the invariants compare everything with the unchanged model."""
        if task_id not in self.model:
            return

        def fail() -> None:
            raise StoreBusyError()

        failpoints.arm({where: fail})
        for change in (self.queue.manager.cancel, self.queue.manager.retry, self.queue.manager.delete):
            with pytest.raises((StoreBusyError, ConflictError)):
                change(task_id)
        failpoints.disarm()

    # What always holds

    @invariant()
    def database_and_model_agree(self) -> None:
        tasks = {task.id: task for task in self.queue.manager.page(TaskFilter(limit=200)).tasks}
        assert tasks.keys() == self.model.keys()
        for task_id, expected in self.model.items():
            self._check(tasks[task_id], expected)

    @invariant()
    def index_and_database_agree(self) -> None:
        counts = self.queue.manager.counts()
        with self.queue.store.reading() as rows:
            assert counts == rows.counts()
        assert {status: count for status, count in counts.items() if count} == self._model_counts()

    @invariant()
    def waiting_tasks_are_in_order(self) -> None:
        ready = sorted(self.queue.manager.waiting(), key=lambda task: (-task.priority, task.seq))
        assert [task.id for task in ready] == self._ready_order()
        line = sorted((t for t in self.model if self.model[t].is_waiting), key=self._place)
        assert [self.queue.manager.position(task_id) for task_id in line] == list(range(1, len(line) + 1))

    @invariant()
    def a_retrying_task_waits_until_its_delay_ends(self) -> None:
        delay_ends = [task.delay_end for task in self.model.values() if task.status is R]
        expected = max(0.0, min(delay_ends) - self.clock.monotonic()) if delay_ends else None
        assert self.queue.manager.next_delay_end_in() == (None if expected is None else pytest.approx(expected))

    def _check(self, task: Task, expected: Expected) -> None:
        assert task.status is expected.status
        assert task.lease_token == expected.token
        assert task.priority == expected.priority
        assert task.attempt - task.free_attempts == expected.charged <= MAX_ATTEMPTS
        assert task.interrupts == expected.interrupts
        assert [error.code for error in task.errors] == expected.errors
        assert (task.result_sha256 is not None) == (task.status is TaskStatus.COMPLETED)
        if task.status is not TaskStatus.COMPLETED:
            assert task.windows_done == expected.windows

    def _expect_requeued(self, expected: Expected, code: str, *, is_only_suspect: bool) -> None:
        expected.status, expected.token = W, None
        expected.charged -= 1
        expected.errors.append(code)
        if is_only_suspect:
            last = expected.last_death
            is_recent = last is not None and self.clock.now() - last <= timedelta(hours=1)
            expected.interrupts = expected.interrupts + 1 if is_recent else 1
        expected.last_death = self.clock.now()
        if is_only_suspect and expected.interrupts >= 3:
            expected.status = TaskStatus.FAILED
            expected.errors.append("poison")

    def _holder(self, lease: tuple[str, str]) -> Expected | None:
        task_id, token = lease
        expected = self.model.get(task_id)
        return expected if expected is not None and expected.status is P and expected.token == token else None

    def _place(self, task_id: str) -> tuple[int, int]:
        return -self.model[task_id].priority, self.model[task_id].order

    def _ready_order(self) -> list[str]:
        return sorted((t for t, task in self.model.items() if task.status is W and task.is_prepared), key=self._place)

    def _model_counts(self) -> dict[TaskStatus, int]:
        counts: dict[TaskStatus, int] = {}
        for task in self.model.values():
            counts[task.status] = counts.get(task.status, 0) + 1
        return counts


@pytest.mark.hypothesis
def test_whatever_happens_the_queue_is_as_the_model_says(each_database: Databases) -> None:
    examples = 3 if each_database.is_postgresql else 15
    run_state_machine_as_test(
        QueueMachine, settings=budget(examples, stateful_step_count=30, suppress_health_check=list(HealthCheck))
    )
