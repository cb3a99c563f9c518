"""The order of the waiting tasks, what the index counts, and what a view of it keeps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from optimizer.tasks.task import Priority
from tests.optimizer.planning.helpers import HIGH, LOW, NORMAL, task

PENALTIES = {"a": 25.0, "b": 0.0}


@st.composite
def several_tasks(draw: st.DrawFn) -> list[WaitingTask]:
    seqs = draw(st.lists(st.integers(0, 1000), unique=True, max_size=12))
    return [
        task(
            seq,
            draw(st.sampled_from(["base", "tiny"])),
            draw(st.sampled_from(Priority)),
            due=draw(st.sampled_from([0.0, 10.0, 20.0, 30.0])),
            owner=draw(st.sampled_from(sorted(PENALTIES))),
        )
        for seq in seqs
    ]


def rank(each: WaitingTask) -> tuple[int, float, float]:
    return (-each.priority, each.due + PENALTIES[each.owner], each.seq)


@given(several_tasks())
def test_the_order_is_priority_then_due_time_with_the_owners_penalty_then_arrival(tasks: list[WaitingTask]) -> None:
    view = WaitingIndex.of(tasks).view(PENALTIES)
    ordered = sorted(tasks, key=rank)
    assert list(view.in_order()) == ordered
    assert [view.count_ahead_of(each, PENALTIES[each.owner]) for each in ordered] == list(range(len(tasks)))


@given(several_tasks(), st.data())
def test_an_index_kept_up_to_date_equals_one_made_anew(tasks: list[WaitingTask], data: st.DataObject) -> None:
    index = WaitingIndex()
    for each in tasks:
        index.add(each)
    gone = data.draw(st.sets(st.sampled_from([each.id for each in tasks]))) if tasks else set()
    for task_id in gone:
        index.discard(task_id)
    left = [each for each in tasks if each.id not in gone]
    fresh = WaitingIndex.of(left)
    assert list(index.view(PENALTIES).in_order()) == list(fresh.view(PENALTIES).in_order()) == sorted(left, key=rank)
    assert index.owners() == fresh.owners() == {each.owner for each in left}
    for each in tasks:
        expected = sum(other.priority == each.priority and other.seq < each.seq for other in left)
        assert index.view().count_arrived_before(each.priority, each.seq) == expected
        assert (each in index.view()) == (each.id not in gone)


def test_a_view_counts_what_is_ahead_by_priority_then_due_time() -> None:
    index = WaitingIndex()
    tasks = [task(4, "tiny"), task(2, priority=LOW), task(3), task(9, priority=HIGH)]
    for each in tasks:
        index.add(each)
    view = index.view()
    assert [each.id for each in view.in_order()] == ["t9", "t4", "t3", "t2"]
    assert [view.count_ahead_of(each) for each in tasks] == [1, 3, 2, 0]
    assert view.count_ahead_of(task(5)) == 3
    assert [view.count_arrived_before(NORMAL, seq) for seq in (3, 4, 5)] == [0, 1, 2]


def test_a_view_does_not_change_with_the_index() -> None:
    index = WaitingIndex()
    index.add(task(1))
    view = index.view()
    index.add(task(2))
    assert index.discard("t1") == task(1)
    assert index.discard("t1") is None
    assert ([each.id for each in view], [each.id for each in index.view()]) == (["t1"], ["t2"])
    assert (len(view), len(index), index.get("t2")) == (1, 1, task(2))


def test_adding_a_task_again_replaces_it() -> None:
    index = WaitingIndex()
    index.add(task(1, priority=LOW))
    index.add(task(1, priority=HIGH))
    assert [each.priority for each in index.view()] == [HIGH]
    assert index.get("t1") == task(1, priority=HIGH)
