"""The waiting tasks in memory, a small record each, and how many tasks are in each state. It follows commits, and never
leads.

When two threads change one task one after the other, the second may get here first; the row's version tells which
change is the later one. Nothing is waited for while the lock is held.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice

from errors import QueueFullError
from optimizer.queue.arrangement import Arrangement, Line
from optimizer.queue.loaded_tasks import LoadedTasks
from optimizer.queue.ordering import FIRST_COME, DueTimes, OwnerShares
from optimizer.queue.places import places
from optimizer.queue.ready_queue import WaitingGroup, WaitingIndex, WaitingTask, WaitingView, in_order, ranked
from optimizer.queue.sample_ledger import SampleLedger
from optimizer.tasks.task import Task, TaskStatus

_GONE = 2**63  # later than every version of a row


class StatusCounts:
    """How many tasks are in each state, and how many times tasks have entered it. Not thread-safe."""

    def __init__(self) -> None:
        self.current: dict[TaskStatus, int] = dict.fromkeys(TaskStatus, 0)
        self.entered: dict[TaskStatus, int] = dict.fromkeys(TaskStatus, 0)
        self.failures: Counter[str] = Counter()  # by error code

    def move(self, before: TaskStatus | None, after: TaskStatus | None) -> None:
        """before: None for a new task. after: None for a deleted one."""
        if before is not None:
            self.current[before] -= 1
        if after is not None:
            self.current[after] += 1
            if after is not before:
                self.entered[after] += 1


class OngoingChanges:
    """Which tasks are being changed, and the latest version seen of each. Not thread-safe."""

    def __init__(self) -> None:
        self._threads: dict[str, int] = {}  # how many are changing each task, by id
        self._versions: dict[str, int] = {}

    def begin(self, task_id: str) -> None:
        self._threads[task_id] = self._threads.get(task_id, 0) + 1

    def end(self, task_id: str) -> None:
        self._threads[task_id] -= 1
        if not self._threads[task_id]:
            del self._threads[task_id]
            self._versions.pop(task_id, None)

    def advance(self, task_id: str, version: int) -> bool:
        """False when a later version was seen before this one."""
        if version <= self._versions.get(task_id, 0):
            return False
        self._versions[task_id] = version
        return True


class QueueIndex:
    """Any thread. Times are monotonic seconds."""

    def __init__(self, due_times: DueTimes = FIRST_COME) -> None:
        self._due_times = due_times
        self._lock = threading.Lock()
        self._shares = OwnerShares()
        self._ready = WaitingIndex()  # tasks that may run now
        self._unsampled = WaitingIndex()  # tasks that may run once their samples are there
        self._held = WaitingIndex()  # tasks that may not run yet: retrying or not prepared
        self._samples = SampleLedger()
        self._arrangement = Arrangement()
        self._delay_ends: dict[str, float] = {}  # when each retrying task may run again, by id
        self._unprepared: set[str] = set()
        self._reserved_places = 0  # for tasks that are being stored
        self._counts = StatusCounts()
        self._changes = OngoingChanges()

    def load(self, waiting: LoadedTasks, counts: Mapping[TaskStatus, int]) -> None:
        """Replaces whatever was here before."""
        with self._lock:
            self._ready, self._held = WaitingIndex.of(waiting.ready), WaitingIndex.of(waiting.held)
            self._unsampled = WaitingIndex.of(waiting.unsampled)
            self._samples = SampleLedger(chain(waiting.ready, waiting.unsampled, waiting.held), waiting.lacking)
            self._delay_ends, self._unprepared = dict(waiting.delay_ends), set(waiting.unprepared)
            self._counts.current = dict(counts)
            self._arrangement = Arrangement()
            for entry, number in waiting.arranged:
                self._arrangement.put(entry, number)
            for line in self._arrangement.lines():
                self._arrange(line)

    @contextmanager
    def changing(self, *task_ids: str) -> Iterator[None]:
        """Surrounds every change of tasks' rows, from before its transaction until `follow` or `remove`."""
        with self._lock:
            for task_id in task_ids:
                self._changes.begin(task_id)
        try:
            yield
        finally:
            with self._lock:
                for task_id in task_ids:
                    self._changes.end(task_id)

    @contextmanager
    def reserved_place(self, limit: int) -> Iterator[None]:
        """Room for one more waiting task, kept while it is being stored. Raises QueueFullError."""
        with self._lock:
            if sum(map(len, self._indexes)) + self._reserved_places >= limit:
                raise QueueFullError()
            self._reserved_places += 1
        try:
            yield
        finally:
            with self._lock:
                self._reserved_places -= 1

    def follow(
        self, task: Task, *, before: TaskStatus | None, now: float, arrived: float, delay_end: float | None
    ) -> None:
        """Takes over a committed change.

        before: the task's state before it; None for a new task. arrived: when the task was submitted. delay_end: when a
        retrying task may run again, else None.
        """
        with self._lock:
            self._counts.move(before, task.status)
            if task.status is TaskStatus.FAILED is not before and task.error is not None:
                self._counts.failures[task.error.code] += 1
            self._charge(task, before, now)
            if not self._changes.advance(task.id, task.version):
                return
            if task.status.is_waiting:
                known = self._entry(task.id)
                is_requeued = before is TaskStatus.PROCESSING and task.status is TaskStatus.PENDING
                since = known.waiting_since if known else arrived if is_requeued else now
                entry = self._entry_of(task, since)
                self._put(entry, is_prepared=task.is_prepared, delay_end=delay_end)
                self._arrange(self._arrangement.put(entry, task.arranged))
            else:
                self._drop(task.id)
                self._arrange(self._arrangement.drop(task.id))
                if task.status.is_final:
                    self._samples.note(task.id, True)  # nothing is kept of a task that has ended

    def remove(self, task_id: str, *, before: TaskStatus | None, after: TaskStatus | None) -> None:
        """The task was deleted (after: None), or quarantined because its row cannot be read.

        before: None when the row had an unknown state; then the task was counted as what this index has it for.
        """
        with self._lock:
            self._counts.move(before or self._indexed_state(task_id), after)
            self._changes.advance(task_id, _GONE)
            self._drop(task_id)
            self._arrange(self._arrangement.drop(task_id))
            self._samples.note(task_id, True)

    def ready(self, now: float) -> WaitingView:
        with self._lock:
            owners = self._ready.owners()
            least = min((self._shares.penalty(owner, now) for owner in owners), default=0.0)
            penalties = self._shares.penalties(owners, now)
            return self._ready.view(penalties, partial(self._requeued_penalty, least=least, now=now))

    def _requeued_penalty(self, owner: str, work_left_s: float, *, least: float, now: float) -> float:
        """See WaitingView.requeued_penalty. least: what the penalties of that view are relative to."""
        with self._lock:
            return self._shares.penalty_after_refund(owner, work_left_s, now) - least

    def unmeasured(self) -> list[WaitingTask]:
        """Those that are not prepared, in order of arrival within each priority."""
        with self._lock:
            found = [entry for task_id in self._unprepared if (entry := self._held.get(task_id))]
        return sorted(found, key=lambda entry: (-entry.priority, entry.seq))

    # Samples

    def note_samples(self, task_id: str, has_samples: bool, *, is_waiting: bool = False) -> None:
        """Of a task that waits, or is about to. Such a task has samples unless it was noted that it has none.

        is_waiting: does nothing unless it waits already."""
        with self._lock:
            entry = self._entry(task_id)
            if entry is None and is_waiting:
                return
            is_prepared, delay_end = task_id not in self._unprepared, self._delay_ends.get(task_id)
            self._drop(task_id)
            self._samples.note(task_id, has_samples)
            if entry is not None:
                self._put(entry, is_prepared=is_prepared, delay_end=delay_end)

    def lacks_samples(self, task_id: str) -> bool:
        with self._lock:
            return self._samples.lacks(task_id)

    def any_lacks_samples(self) -> bool:
        with self._lock:
            return bool(self._samples)

    def kept_bytes(self, owner: str) -> tuple[int, int]:
        """What the samples of all waiting tasks take, and of this owner's."""
        with self._lock:
            return self._samples.total_bytes, self._samples.bytes_of(owner)

    def upcoming(self, limit: int, now: float) -> list[tuple[WaitingTask, bool]]:
        """The next tasks by rank that wait for nothing but a device or their samples, and whether they have those."""
        with self._lock:
            penalties = self._shares.penalties(self._ready.owners() | self._unsampled.owners(), now)
            views = (self._ready.view(penalties), self._unsampled.view(penalties))
        groups = ranked(chain.from_iterable(view.groups for view in views))
        return [(task, not self._samples.lacks(task.id)) for task, _ in islice(in_order(groups), limit)]

    def last_with_samples(self, but: Collection[str], now: float) -> list[WaitingTask]:
        """Waiting tasks with samples, the last by rank first. but: ids to leave out."""
        with self._lock:
            penalties = self._shares.penalties(self._ready.owners() | self._held.owners(), now)
            groups = ranked((*self._held.view(penalties).groups, *self._ready.view(penalties).groups))
            lacks = self._samples.lacks
            tasks = [task for task, _ in in_order(groups) if task.sample_bytes and not lacks(task.id)]
        return [task for task in reversed(tasks) if task.id not in but]

    def positions(self, task_ids: Iterable[str], now: float) -> dict[str, int]:
        """The places of those that wait, from 1."""
        with self._lock:
            entries = [entry for task_id in task_ids if (entry := self._entry(task_id))]
            penalties = self._shares.penalties(set().union(*(index.owners() for index in self._indexes)), now)
            groups = chain.from_iterable(index.groups(penalties) for index in self._indexes)
            return places(entries, groups, penalties)

    def line(self, now: float, owner: str | None, model: str | None) -> list[WaitingGroup]:
        """All that waits, of an owner or a model if one is named; a snapshot. Two groups may have the same key."""
        with self._lock:
            penalties = self._shares.penalties(set().union(*(index.owners() for index in self._indexes)), now)
            groups = chain.from_iterable(index.view(penalties).groups for index in self._indexes)
        return [group for group in groups if owner in (None, group.key.owner) and model in (None, group.key.model)]

    def entry(self, task_id: str) -> WaitingTask | None:
        with self._lock:
            return self._entry(task_id)

    def arranged_numbers(self, task_ids: Iterable[str]) -> dict[str, float]:
        """Of those that their owner has arranged."""
        with self._lock:
            numbers = ((task_id, self._arrangement.number_of(task_id)) for task_id in task_ids)
            return {task_id: number for task_id, number in numbers if number is not None}

    def ids_with_delay_over(self, now: float) -> list[str]:
        """Retrying tasks that may run again, the first to become so first."""
        with self._lock:
            found = [(delay_end, task_id) for task_id, delay_end in self._delay_ends.items() if delay_end <= now]
        return [task_id for _, task_id in sorted(found)]

    def next_delay_end(self) -> float | None:
        with self._lock:
            return min(self._delay_ends.values(), default=None)

    def counts(self) -> dict[TaskStatus, int]:
        with self._lock:
            return dict(self._counts.current)

    def entered(self) -> dict[TaskStatus, int]:
        """How many times tasks have entered each state since the start."""
        with self._lock:
            return dict(self._counts.entered)

    def failures(self) -> dict[str, int]:
        """How many tasks have failed for good since the start, by error code."""
        with self._lock:
            return dict(self._counts.failures)

    def _charge(self, task: Task, before: TaskStatus | None, now: float) -> None:
        """Charges work that begins to its owner, and refunds what is left of it when the attempt ends early."""
        is_beginning = task.status is TaskStatus.PROCESSING and before is not TaskStatus.PROCESSING
        has_ended_early = before is TaskStatus.PROCESSING and task.status.is_waiting
        if is_beginning or has_ended_early:
            work_s = self._due_times.work_seconds(task.options.model, task.audio_left_seconds)
            self._shares.charge(task.owner, work_s if is_beginning else -work_s, now)

    def _indexed_state(self, task_id: str) -> TaskStatus:
        if task_id in self._delay_ends:
            return TaskStatus.RETRYING
        return TaskStatus.FAILED if self._entry(task_id) is None else TaskStatus.PENDING

    @property
    def _indexes(self) -> tuple[WaitingIndex, WaitingIndex, WaitingIndex]:
        return self._ready, self._unsampled, self._held

    def _entry(self, task_id: str) -> WaitingTask | None:
        return next((entry for index in self._indexes if (entry := index.get(task_id))), None)

    def _put(self, entry: WaitingTask, *, is_prepared: bool, delay_end: float | None) -> None:
        self._drop(entry.id)
        self._samples.add(entry)
        is_held = not is_prepared or delay_end is not None
        (self._held if is_held else self._unsampled if self._samples.lacks(entry.id) else self._ready).add(entry)
        if delay_end is not None:
            self._delay_ends[entry.id] = delay_end
        if not is_prepared:
            self._unprepared.add(entry.id)

    def _arrange(self, line: Line | None) -> None:
        """Puts the arranged tasks of the line where they belong now."""
        for task_id, (due, seq) in () if line is None else self._arrangement.places(line):
            for index in self._indexes:
                if (entry := index.get(task_id)) is not None and entry.place != (due, seq):
                    index.add(entry._replace(due=due, seq=seq))

    def _drop(self, task_id: str) -> None:
        for index in self._indexes:
            if entry := index.discard(task_id):
                self._samples.remove(entry)
        self._delay_ends.pop(task_id, None)
        self._unprepared.discard(task_id)

    def _entry_of(self, task: Task, waiting_since: float) -> WaitingTask:
        return WaitingTask(
            id=task.id,
            seq=task.seq,
            model=task.options.model,
            priority=task.priority,
            audio_seconds=task.audio_seconds or 0.0,
            audio_left_seconds=task.audio_left_seconds,
            waiting_since=waiting_since,
            due=self._due_times.due(task.options.model, task.audio_left_seconds, waiting_since),
            device=task.requested_device,
            owner=task.owner,
            word_timestamps=task.options.word_timestamps,
            is_chunked=task.options.is_chunked,
            beams=task.options.beams,
            speakers=task.options.speakers,
        )
