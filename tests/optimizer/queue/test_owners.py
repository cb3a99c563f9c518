"""What is kept apart by owner: idempotency keys, pages, counts, and how much one owner may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from errors import QuotaExceededError, TaskNotFoundError
from optimizer.queue.ownership import Ownership
from optimizer.queue.quotas import OwnerQuotas
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, new_task

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

MakeQueue = Callable[..., Queue]


@pytest.fixture
def make_queue(tmp_path: Path) -> Iterator[MakeQueue]:
    made: list[Queue] = []

    def make(quotas: OwnerQuotas | None = None) -> Queue:
        made.append(Queue(tmp_path, FakeClock(), quotas=quotas))
        return made[-1]

    yield make
    for queue in made:
        queue.store.close()


def test_an_idempotency_key_is_its_owners(make_queue: MakeQueue) -> None:
    queue = make_queue()
    first = queue.manager.submit(new_task("a", owner="alice", idempotency_key="k"))
    other = queue.manager.submit(new_task("b", owner="mallory", idempotency_key="k"))
    again = queue.manager.submit(new_task("c", owner="alice", idempotency_key="k"))
    assert [(task.id, is_replay) for task, is_replay in (first, other, again)] == [
        ("a", False),
        ("b", False),
        ("a", True),
    ]


def test_a_page_and_its_counts_are_of_one_owner(make_queue: MakeQueue) -> None:
    queue = make_queue()
    for task_id, owner in (("a", "alice"), ("b", "mallory"), ("c", "alice")):
        queue.submit(task_id, owner=owner)
    page = queue.manager.page(TaskFilter(owner="alice"))
    assert [task.id for task in page.tasks] == ["c", "a"]
    assert page.counts[TaskStatus.PENDING] == 2
    assert queue.manager.page(TaskFilter()).counts[TaskStatus.PENDING] == 3
    assert queue.manager.page(TaskFilter(owner="alice", query="interview")).tasks == page.tasks
    assert queue.manager.page(TaskFilter(owner="nobody")).tasks == ()


def test_ownership_tells_whose_a_task_is(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.submit("a", owner="alice")
    queue.submit("b", owner="mallory")
    ownership = Ownership(queue.store, OwnerQuotas())
    assert ownership.owner_of("a") == "alice"
    assert ownership.ids_of("alice", among=["a", "b", "gone"]) == {"a"}
    assert ownership.counts("mallory")[TaskStatus.PENDING] == 1
    with pytest.raises(TaskNotFoundError):
        ownership.owner_of("gone")


def test_an_owner_keeps_no_more_bytes_than_allowed(make_queue: MakeQueue) -> None:
    quotas = OwnerQuotas(max_stored_bytes=2_500)
    queue = make_queue(quotas)
    queue.submit("a", owner="alice")
    queue.submit("b", owner="alice")
    with pytest.raises(QuotaExceededError):
        queue.submit("c", owner="alice")
    with pytest.raises(QuotaExceededError):
        Ownership(queue.store, quotas).check_quota("alice", 501)  # before the upload's first byte
    Ownership(queue.store, quotas).check_quota("alice", 500)
    assert queue.submit("d", owner="mallory").id == "d"
    queue.manager.delete("a")
    assert queue.submit("c", owner="alice").id == "c"


def test_a_recording_that_was_removed_for_its_age_counts_no_more(make_queue: MakeQueue) -> None:
    quotas = OwnerQuotas(max_stored_bytes=1_000)
    queue = make_queue(quotas)
    queue.submit("a", owner="alice")
    queue.complete(queue.claim("a"))
    queue.clock.advance(86_400)
    with pytest.raises(QuotaExceededError):
        queue.submit("b", owner="alice")
    assert queue.manager.remove_media("a", queue.clock.now(), lambda: None) is not None
    assert queue.submit("b", owner="alice").id == "b"


def test_an_owner_has_no_more_hours_waiting_than_allowed(make_queue: MakeQueue) -> None:
    queue = make_queue(OwnerQuotas(max_queued_seconds=100))
    queue.submit("long", owner="mallory", audio_seconds=500.0)  # alone it may be longer, or it could never be sent
    queue.submit("a", owner="alice")
    with pytest.raises(QuotaExceededError):
        queue.submit("b", owner="alice")
    queue.complete(queue.claim("a"))
    assert queue.submit("b", owner="alice").id == "b"


def test_a_repeated_upload_is_answered_though_the_quota_is_used_up(make_queue: MakeQueue) -> None:
    queue = make_queue(OwnerQuotas(max_stored_bytes=1_000))
    queue.submit("a", owner="alice", idempotency_key="k")
    task, is_replay = queue.manager.submit(new_task("b", owner="alice", idempotency_key="k"))
    assert (task.id, is_replay) == ("a", True)
