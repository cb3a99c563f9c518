"""What people call their tasks and write of them."""

from __future__ import annotations

import pytest

from errors import ConflictError, InvalidOptionError
from optimizer.tasks.task import Priority, TaskFilter
from optimizer.tasks.task_changes import TaskChanges, read_note, read_tags, read_title
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py


def found(queue: Queue, query: str) -> list[str]:
    return [task.id for task in queue.manager.page(TaskFilter(query=query)).tasks]


def test_a_task_in_any_state_is_called_as_its_owner_wants(queue: Queue) -> None:
    queue.submit("a", filename="rec01.mp3")
    queue.complete(queue.claim("a"), text="On the harbour.")
    task = queue.manager.change("a", TaskChanges(title="Board, May", note="Ask again.", tags=("radio", "draft")))

    assert (task.title, task.note, task.tags) == ("Board, May", "Ask again.", ("radio", "draft"))
    assert (task.name, task.saved_name) == ("Board, May", "Board, May.mp3")
    assert queue.manager.get("a") == task
    assert queue.changed[-1] == "a"


def test_the_search_finds_both_names_and_the_text(queue: Queue) -> None:
    queue.submit("a", filename="rec01.mp3")
    queue.manager.change("a", TaskChanges(title="Board"))
    assert found(queue, "board") == found(queue, "rec01") == ["a"]
    queue.complete(queue.claim("a"), text="On the harbour.")
    assert found(queue, "board") == found(queue, "rec01") == found(queue, "harbour") == ["a"]
    queue.manager.change("a", TaskChanges(title="Council"))
    assert found(queue, "council") == found(queue, "harbour") == ["a"]
    assert found(queue, "board") == []
    assert queue.manager.change("a", TaskChanges(title="")).title is None
    assert found(queue, "council") == []
    assert found(queue, "rec01") == found(queue, "harbour") == ["a"]


def test_names_and_tags_survive_a_restart_and_end_with_the_task(queue: Queue, clock: FakeClock) -> None:
    queue.submit("a")
    queue.manager.change("a", TaskChanges(title="Board", tags=("radio",)))
    data_dir = queue.store._data_dir
    queue.store.close()
    with running_queue(data_dir, clock) as later:
        assert [task.title for task in later.manager.page(TaskFilter(tag="Radio")).tasks] == ["Board"]
        later.manager.delete("a")
        with later.store.database.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM task_tags").scalar_one() == 0


def test_all_of_a_change_or_nothing(queue: Queue) -> None:
    queue.submit("a")
    queue.manager.cancel("a")
    with pytest.raises(ConflictError):
        queue.manager.change("a", TaskChanges(title="Board", priority=Priority.HIGH))
    assert queue.manager.get("a").title is None


def test_a_change_of_nothing_is_none(queue: Queue) -> None:
    task = queue.submit("a")
    queue.changed.clear()
    assert queue.manager.change("a", TaskChanges(title="", note="", tags=())) == task
    assert queue.changed == []


def test_what_cannot_be_seen_is_left_out_and_what_is_too_long_refused() -> None:
    assert read_title(" A\u202e  B\x00\n C\ud800 ") == "A B C"
    assert read_note("a\r\nb\tc\x1b[31m\ud800\n\n") == "a\nb\tc[31m"
    assert read_tags(["Radio", " radio ", "", "Ä", "a\u0308"]) == ("Radio", "Ä")
    for field, read in (
        ("title", lambda: read_title("x" * 201)),
        ("note", lambda: read_note("x" * 10_001)),
        ("tags", lambda: read_tags(["x" * 51])),
        ("tags", lambda: read_tags(map(str, range(21)))),
    ):
        with pytest.raises(InvalidOptionError) as refused:
            read()
        assert refused.value.field == field
