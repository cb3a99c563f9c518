"""The order of the waiting tasks, and what the index counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from optimizer.queue.ready_queue import WaitingIndex, WaitingTask
from optimizer.tasks.task import Priority
from tests.optimizer.planning.helpers import task

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


def rank(each: WaitingTask) -> tuple[int, float, int]:
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
