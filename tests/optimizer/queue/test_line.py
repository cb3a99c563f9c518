"""The waiting line from its front, and tasks that their owner moves within it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import ConflictError, InvalidOptionError
from optimizer.queue.arrangement import Arrangement, moved, renumbered
from optimizer.queue.ordering import FIRST_COME, DueTimes
from optimizer.queue.ready_queue import WaitingTask
from optimizer.tasks.task import Priority, Task, TaskFilter, TaskOptions, TaskSort, TaskStatus
from optimizer.tasks.task_changes import TaskChanges
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue
from tests.properties import budget

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

SHORT_FIRST = DueTimes(lambda model, seconds: seconds / 10)


def filled(data_dir: Path, clock: FakeClock, due_times: DueTimes = FIRST_COME) -> Queue:
    """Of alice a1 to a5, of bob b1 to b3; each is a second longer than the one before it."""
    queue = Queue(data_dir, clock, due_times=due_times)
    for number, task_id in enumerate(["a1", "b1", "a2", "a3", "b2", "a4", "a5", "b3"]):
        queue.submit(task_id, owner={"a": "alice", "b": "bob"}[task_id[0]], audio_seconds=60.0 + number)
        clock.advance(0.001)
    return queue


@pytest.fixture
def line(tmp_path: Path, clock: FakeClock) -> Iterator[Queue]:
    queue = filled(tmp_path, clock)
    yield queue
    queue.store.close()


def order(queue: Queue, limit: int = 200, **wanted: object) -> list[str]:
    found: list[Task] = []
    cursor: str | None = None
    while True:
        page = queue.manager.page(TaskFilter(sort=TaskSort.LINE, limit=limit, cursor=cursor, **wanted))  # type: ignore[arg-type]
        found += page.tasks
        cursor = page.next_cursor
        if cursor is None:
            return [task.id for task in found]


def place_of(queue: Queue, task_id: str) -> tuple[float, float]:
    entry = queue.manager._index.entry(task_id)
    assert entry is not None
    return entry.place


def of_alice(queue: Queue) -> list[str]:
    return order(queue, owner="alice")


# The line, page by page


def test_the_line_begins_with_number_one(line: Queue) -> None:
    line.manager.change("b3", TaskChanges(priority=Priority.HIGH))
    line.manager.change("a1", TaskChanges(priority=Priority.LOW))
    ids = order(line, 3)
    assert order(line, 1) == order(line) == ids
    assert ids == ["b3", "b1", "a2", "a3", "b2", "a4", "a5", "a1"]
    assert [line.manager.position(task_id) for task_id in ids] == list(range(1, 9))


def test_a_page_goes_on_where_the_last_one_ended_whatever_has_started(line: Queue) -> None:
    first = line.manager.page(TaskFilter(sort=TaskSort.LINE, limit=3))
    for task in first.tasks:
        line.claim(task.id)
    rest = line.manager.page(TaskFilter(sort=TaskSort.LINE, limit=200, cursor=first.next_cursor))
    assert {task.id for task in rest.tasks} == {"a3", "b2", "a4", "a5", "b3"}


def test_a_page_goes_on_although_an_owner_has_been_set_back(tmp_path: Path, clock: FakeClock) -> None:
    with running_queue(tmp_path, clock) as queue:
        for number in range(6):
            queue.submit(f"t{number}", owner="alice" if number % 2 else "bob")
        page = queue.manager.page(TaskFilter(sort=TaskSort.LINE, limit=3))
        queue.manager._index._shares.charge("alice", 100.0, clock.monotonic())
        rest = queue.manager.page(TaskFilter(sort=TaskSort.LINE, limit=200, cursor=page.next_cursor))
        assert [task.id for task in page.tasks] == ["t0", "t1", "t2"]
        assert [task.id for task in rest.tasks] == ["t4", "t1", "t3", "t5"]


def test_the_line_is_searched_and_narrowed(line: Queue) -> None:
    line.submit("c", owner="alice", filename="harbour.mp3", options=TaskOptions(model="tiny"), audio_seconds=None)
    line.manager.change("a4", TaskChanges(tags=("radio",), title="Harbour again"))
    assert order(line, 1, owner="bob") == ["b1", "b2", "b3"]
    assert order(line, 1, model="tiny") == ["c"]
    assert set(order(line, 1, query="harbour")) == {"a4", "c"}
    assert order(line, 1, tag="Radio") == ["a4"]
    assert order(line, 2, status=TaskStatus.RETRYING) == []
    page = line.manager.page(TaskFilter(sort=TaskSort.LINE, query="harbour", limit=1))
    assert page.counts[TaskStatus.PENDING] == 2


def test_a_cursor_of_something_else_is_refused(line: Queue) -> None:
    for cursor in ("", "x", "WyJsaW5lIiwxLDIsM10", "WyJsaW5lIiwidCIsMCwxZTk5OSwxXQ"):
        with pytest.raises(InvalidOptionError) as refused:
            line.manager.page(TaskFilter(sort=TaskSort.LINE, cursor=cursor))
        assert refused.value.field == "cursor"


# Moving


MOVED = {
    "a5 a1 a2 a3 a4": [("a5", "a1", True)],
    "a2 a3 a4 a5 a1": [("a1", "a5", False)],
    "a1 a2 a3 a5 a4": [("a5", "a1", True), ("a5", "a3", False)],
    "a3 a4 a5 a1 a2": [("a5", "a1", True), ("a4", "a5", True), ("a3", "a4", True)],
}


@pytest.mark.parametrize("due_times", [FIRST_COME, SHORT_FIRST], ids=["first come", "short first"])
def test_tasks_stay_where_their_owner_puts_them_and_pass_nobody_else(
    tmp_path: Path, clock: FakeClock, due_times: DueTimes
) -> None:
    for number, (expected, moves) in enumerate(MOVED.items()):
        data_dir = tmp_path / str(number)
        data_dir.mkdir()
        queue = filled(data_dir, clock, due_times)
        before = order(queue)
        for task_id, other_id, is_before in moves:
            queue.manager.line.move(task_id, other_id, is_before=is_before)
        after = order(queue)
        assert of_alice(queue) == order(queue, 1, owner="alice") == expected.split()
        for other, own in itertools.product(("b1", "b2", "b3"), expected.split()):
            if after.index(own) < after.index(other):
                assert before.index(own) < before.index(other), f"{own} passes {other}"

        later = after_kill(queue, data_dir, due_times)
        assert order(later) == after
        for each in (queue, later):
            each.store.close()


def after_kill(queue: Queue, data_dir: Path, due_times: DueTimes) -> Queue:
    """The next server's. Nothing of the first was closed, but what the system takes from a process that ends."""
    if queue.store.database.dialect.file is None:
        queue.store.database.dialect.end_serving()
    return Queue(data_dir, queue.clock, due_times=due_times)


def test_a_task_that_starts_keeps_nobody_waiting(line: Queue) -> None:
    place = place_of(line, "a1")
    line.manager.line.move("a5", "a1", is_before=True)
    line.claim("a5")
    assert of_alice(line) == ["a1", "a2", "a3", "a4"]
    assert place_of(line, "a1") == place
    assert line.manager.get("a5").arranged is None


def test_a_task_of_unknown_length_is_waited_for_when_its_length_is_known(tmp_path: Path, clock: FakeClock) -> None:
    queue = Queue(tmp_path, clock, due_times=SHORT_FIRST)
    queue.submit("a", audio_seconds=60.0)
    queue.submit("b", audio_seconds=None)
    queue.manager.line.move("b", "a", is_before=True)
    assert order(queue) == ["b", "a"]
    queue.manager.mark_prepared("b", 3600.0)
    assert order(queue) == ["b", "a"]
    queue.store.close()


def test_only_waiting_tasks_of_one_owner_and_priority_have_an_order(line: Queue) -> None:
    line.manager.change("a2", TaskChanges(priority=Priority.HIGH))
    line.claim("a3")
    for other in ("b1", "a2", "a3"):
        with pytest.raises(ConflictError):
            line.manager.line.move("a1", other, is_before=False)
    with pytest.raises(InvalidOptionError):
        line.manager.line.move("a1", "a1", is_before=False)


def test_another_priority_ends_the_order(line: Queue) -> None:
    line.manager.line.move("a5", "a1", is_before=True)
    line.manager.change("a5", TaskChanges(priority=Priority.HIGH))
    line.manager.change("a5", TaskChanges(priority=Priority.NORMAL))
    assert of_alice(line) == ["a1", "a2", "a3", "a4", "a5"]


def test_a_move_is_told_of_once_and_is_in_the_timeline(line: Queue) -> None:
    line.changed.clear()
    line.manager.line.move("a5", "a1", is_before=True)
    assert line.changed == ["a5"]
    assert [event.text for event in line.manager.timeline("a5")][-1] == "Moved within the line by hand."


IDS = [f"t{number}" for number in range(8)]
MOVES = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS), st.booleans()), max_size=12)


@budget(100)
@given(moves=MOVES, dues=st.lists(st.integers(0, 3), min_size=len(IDS), max_size=len(IDS)))
def test_any_moves_give_the_order_that_was_asked_for_and_no_place_is_earlier(
    moves: list[tuple[str, str, bool]], dues: list[int]
) -> None:
    natural = {
        task_id: WaitingTask(task_id, number, "m", Priority.NORMAL, 1.0, 1.0, 0.0, float(due), owner="alice")
        for number, (task_id, due) in enumerate(zip(IDS, dues, strict=True))
    }
    numbers: dict[str, float] = {}

    def places() -> dict[str, tuple[float, float]]:
        arrangement = Arrangement()
        for task_id, task in natural.items():
            arrangement.put(task, numbers.get(task_id))
        return {task_id: task.place for task_id, task in natural.items()} | dict(
            arrangement.places(("alice", Priority.NORMAL))
        )

    def in_order() -> list[str]:
        return sorted(IDS, key=lambda task_id: places()[task_id])

    for task_id, other_id, is_before in moves:
        if task_id == other_id:
            continue
        wanted, stretch = moved(in_order(), task_id, other_id, is_before=is_before)
        numbers |= renumbered(wanted, stretch, numbers)
        assert in_order() == wanted
        assert all(place >= natural[each].place for each, place in places().items())


def test_numbers_are_given_anew_when_there_is_no_room_between_them() -> None:
    numbers = {"a": 1.0, "c": 1.0 + 1e-9}
    assert renumbered(["a", "b", "c"], ["b"], numbers) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert renumbered(["b", "a"], ["b"], {"a": 5.0}) == {"b": 4.0}
    assert renumbered(["a", "b"], ["b"], {"a": 5.0}) == {"b": 6.0}
