"""What the queue does first after a start: repair what a crash or a stop left, then load the waiting tasks."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from errors import BadRecordError
from optimizer.common.boot import is_same_launch
from optimizer.common.clock import Clock
from optimizer.queue import monotonic_times
from optimizer.queue.changes import Interrupt
from optimizer.queue.index import QueueIndex
from optimizer.queue.loaded_tasks import LoadedTasks
from optimizer.queue.ordering import DueTimes
from optimizer.queue.ready_queue import WaitingTask
from optimizer.queue.transactions import TaskTransactions
from optimizer.storage import mapping
from optimizer.storage.mapping import WaitingRow
from optimizer.storage.repository import TaskReader
from optimizer.storage.store import TaskStore
from optimizer.tasks import timeline
from optimizer.tasks.task import ErrorInfo, TaskStatus, num_waiting
from optimizer.tasks.transitions import INTERRUPTED_CODE

_RETRYING = TaskStatus.RETRYING.value
INTERRUPTED = ErrorInfo(
    INTERRUPTED_CODE, "The server stopped while the task was running. The task goes on after its last saved window."
)


@dataclass(frozen=True)
class RecoveryReport:
    """What was found, as task ids, and how many tasks wait now."""

    interrupted: tuple[str, ...]  # ran when the last server stopped
    poisoned: tuple[str, ...]  # those of them that were the only suspect once too often, and failed
    bad_records: tuple[str, ...]  # their rows cannot be read
    waiting: int
    suspects: Mapping[str, int]  # waiting tasks that may make the server or a worker die, and how many deaths so far


def recover(
    store: TaskStore,
    index: QueueIndex,
    transactions: TaskTransactions,
    *,
    boot_id: str,
    clock: Clock,
    due_times: DueTimes,
    samples: Collection[str] | None = None,
) -> RecoveryReport:
    """boot_id: of this start; what an earlier one claimed is not running any more. samples: see LoadedTasks."""
    with store.reading() as rows:
        interrupted = rows.running_ids(not_owned_by=boot_id)
        only_suspect = _only_suspect(rows, interrupted, boot_id)
        unreadable = rows.ids_of_unknown_states()
    for task_id in unreadable:
        transactions.quarantine(task_id)
    requeued = {
        task_id: transactions.try_change(task_id, Interrupt(INTERRUPTED, is_only_suspect=task_id == only_suspect))
        for task_id in interrupted
    }
    unreadable += [task_id for task_id, task in requeued.items() if task is None]
    unreadable_waiting = load_waiting(store, index, clock, due_times, samples)
    for task_id in unreadable_waiting:
        transactions.quarantine(task_id)
    with store.reading() as rows:
        suspects = rows.suspects()
    return RecoveryReport(
        interrupted=tuple(interrupted),
        poisoned=tuple(task.id for task in requeued.values() if task and task.status is TaskStatus.FAILED),
        bad_records=(*unreadable, *unreadable_waiting),
        waiting=num_waiting(index.counts()),
        suspects=suspects,
    )


def _only_suspect(rows: TaskReader, interrupted: Sequence[str], boot_id: str) -> str | None:
    """The task that alone can have made the earlier server die; None when it was several, or none of them.

    A task that had finished a window in its attempt is hardly the cause, and no task can end just the web process: a
    device's worker takes down only itself, or with the machine's memory everything.
    """
    tasks = [rows.get(task_id) for task_id in interrupted]
    if any(is_same_launch(task.lease_owner, boot_id) for task in tasks):
        return None
    suspects = [task.id for task in tasks if not timeline.has_progressed(task, rows.events(task.id))]
    return suspects[0] if len(suspects) == 1 else None


def load_waiting(
    store: TaskStore,
    index: QueueIndex,
    clock: Clock,
    due_times: DueTimes,
    samples: Collection[str] | None = None,
) -> list[str]:
    """Fills the index. Returns the ids of tasks that it left out, because their rows cannot be read."""
    unreadable = []
    waiting = LoadedTasks(samples)
    arrival_of = monotonic_times.arrival_reader(clock)
    with store.reading() as rows, _without_garbage_collection():
        for row in rows.waiting_rows():
            try:
                is_retrying = row.status == _RETRYING
                delay_end = monotonic_times.delay_end(clock, mapping.not_before_of(row)) if is_retrying else None
                entry = waiting_task_of(row, arrival_of, due_times)
                waiting.add(
                    entry, is_prepared=row.audio_seconds is not None, delay_end=delay_end, arranged=row.arranged
                )
            except BadRecordError:
                unreadable.append(row.id)
        index.load(waiting, rows.counts())
    return unreadable


def waiting_task_of(row: WaitingRow, arrival_of: Callable[[str], float], due_times: DueTimes) -> WaitingTask:
    """What the index keeps of a waiting task. Raises BadRecordError.

    arrival_of: monotonic seconds of a moment in ISO 8601; raises ValueError or TypeError. Written for speed, because a
    start calls it for every waiting task: the row is unpacked at once, and the task is made without names.
    """
    task_id, seq, _, options, priority, audio_seconds, progress, requested_device, owner, created_at, _, arranged = row
    try:
        model, urgency, device, whose, has_words, is_chunked, beams, speakers = mapping.read_kind(
            options, priority, requested_device, owner
        )
        seconds = 0.0 if audio_seconds is None else audio_seconds
        if not (isinstance(seconds, (float, int)) and isinstance(seq, int)):
            raise TypeError("audio_seconds or seq is not a number")
        if arranged is not None and not isinstance(arranged, (float, int)):
            raise TypeError("arranged is not a number")
        arrived = arrival_of(created_at)
        left = seconds * (1 - progress)
        due = due_times.due(model, left, arrived)
        return WaitingTask(
            task_id, seq, model, urgency, seconds, left, arrived, due, device, whose, has_words, is_chunked, beams,
            speakers,
        )  # fmt: skip
    except mapping.UNREADABLE as error:
        raise BadRecordError() from error


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Loading makes a few objects for each of many rows and no garbage, so collecting would only take a third more
    time. Nor are these objects examined later: with 100,000 tasks each collection would delay the scheduler by 30 ms.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
