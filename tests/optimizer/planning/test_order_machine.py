"""The order of the queue compared with a model of it, through claims, preemptions and restarts.

Short tasks go first, but nobody is overtaken for longer than the patience, and every owner gets a share.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from optimizer.queue.ordering import HALF_LIFE_S, MAX_PATIENCE_S, TARGET_SLOWDOWN, DueTimes
from optimizer.tasks.task import Priority, Task
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, window
from tests.properties import budget

DUE_TIMES = DueTimes(work_seconds=lambda model, audio_seconds: audio_seconds / 10)


@dataclass
class Known:
    """What the model knows of a task that is not finished. left: seconds of sound."""

    seq: int
    arrived: float
    since: float
    audio_seconds: float
    left: float
    priority: Priority
    owner: str
    claimed: Task | None = None


class OrderMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.queue = Queue(self.folder, self.clock, due_times=DUE_TIMES)
        self.known: dict[str, Known] = {}
        self.penalties: dict[str, float] = {}
        self.arrivals = 0

    def teardown(self) -> None:
        self.queue.store.close()
        shutil.rmtree(self.folder)

    @rule(
        audio_seconds=st.sampled_from([10.0, 60.0, 600.0, 36_000.0]),
        priority=st.sampled_from([Priority.NORMAL, Priority.NORMAL, Priority.HIGH]),
        owner=st.sampled_from(["a", "b"]),
    )
    def submit(self, audio_seconds: float, priority: Priority, owner: str) -> None:
        self.arrivals += 1
        name, now = f"t{self.arrivals}", self.clock.monotonic()
        self.queue.submit(name, audio_seconds=audio_seconds, priority=priority, owner=owner)
        self.known[name] = Known(self.arrivals, now, now, audio_seconds, audio_seconds, priority, owner)

    @rule(seconds=st.sampled_from([1.0, 100.0, 5000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.penalties = {owner: penalty * 0.5 ** (seconds / HALF_LIFE_S) for owner, penalty in self.penalties.items()}

    @precondition(lambda self: self._waiting())
    @rule()
    def start_the_first(self) -> None:
        first = next(self.queue.manager.waiting().in_order())
        own = self.known[first.id]
        for other in self._waiting():
            if (other.priority, other.owner) == (own.priority, own.owner):
                assert own.since <= other.since + MAX_PATIENCE_S
        own.claimed = self.queue.claim(first.id)
        self._charge(own, own.left)

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def preempt(self, data: st.DataObject) -> None:
        name, own = data.draw(st.sampled_from(self._running()))
        assert own.claimed is not None
        done = window(own.claimed.windows_done, of=own.claimed.windows_done + 2)
        self.queue.manager.save_window(name, own.claimed.lease_token or "", done)
        self.queue.manager.requeue(name, own.claimed.lease_token or "", preempted_by="another")
        own.left = own.audio_seconds * (1 - done.checkpoint.seek / done.checkpoint.content_frames)
        own.claimed, own.since = None, own.arrived
        self._charge(own, -own.left)

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        name, own = data.draw(st.sampled_from(self._running()))
        assert own.claimed is not None
        assert self.queue.complete(own.claimed) is not None
        del self.known[name]

    @rule()
    def restart(self) -> None:
        """What owners got is forgotten; when tasks came is not."""
        self.queue.store.close()
        self.queue = Queue(self.folder, self.clock, due_times=DUE_TIMES)
        self.penalties = {}
        for name in self.queue.report.poisoned:
            del self.known[name]
        for own in self.known.values():
            own.claimed, own.since = None, own.arrived
            own.left = own.audio_seconds * (1 - self._progress(own))

    @invariant()
    def waiting_tasks_are_in_the_models_order(self) -> None:
        ordered = sorted(self._waiting(), key=self._rank)
        names = [f"t{own.seq}" for own in ordered]
        assert [task.id for task in self.queue.manager.waiting().in_order()] == names
        assert [self.queue.manager.position(name) for name in names] == list(range(1, len(names) + 1))

    def _rank(self, own: Known) -> tuple[int, float, int]:
        due = own.since + min(TARGET_SLOWDOWN * own.left / 10, MAX_PATIENCE_S)
        return (-own.priority, due + self.penalties.get(own.owner, 0.0), own.seq)

    def _waiting(self) -> list[Known]:
        return [own for own in self.known.values() if own.claimed is None]

    def _running(self) -> list[tuple[str, Known]]:
        return [(name, own) for name, own in self.known.items() if own.claimed is not None]

    def _charge(self, own: Known, audio_seconds: float) -> None:
        self.penalties[own.owner] = max(0.0, self.penalties.get(own.owner, 0.0) + TARGET_SLOWDOWN * audio_seconds / 10)

    def _progress(self, own: Known) -> float:
        return self.queue.manager.get(f"t{own.seq}").progress


TestOrderMachine = OrderMachine.TestCase
TestOrderMachine.settings = budget(12, stateful_step_count=30, suppress_health_check=list(HealthCheck))
