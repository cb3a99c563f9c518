"""The list of tasks: pages, filters, search."""

from __future__ import annotations

import ast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from errors import InvalidOptionError
from optimizer.storage.search_words import Phrase, read_query, words_of
from optimizer.tasks.task import TaskFilter, TaskOptions, TaskStatus
from tests.optimizer.queue.helpers import Queue
from tests.paths import ROOT
from tests.properties import budget

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py


def ids(queue: Queue, **wanted: object) -> list[str]:
    return [task.id for task in queue.manager.page(TaskFilter(**wanted)).tasks]  # type: ignore[arg-type]


def test_pages_go_from_new_to_old_and_show_every_task_once(queue: Queue) -> None:
    for number in range(7):
        queue.submit(f"t{number}")
    seen, cursor = [], None
    while True:
        page = queue.manager.page(TaskFilter(limit=3, cursor=cursor))
        seen += [task.id for task in page.tasks]
        cursor = page.next_cursor
        queue.submit(f"later-{len(seen)}")
        if cursor is None:
            break
    assert seen == [f"t{number}" for number in reversed(range(7))]


def test_pages_by_state_and_model(queue: Queue) -> None:
    queue.submit("a")
    queue.submit("b", options=TaskOptions(model="small"))
    queue.manager.cancel("a")

    assert ids(queue, status=TaskStatus.CANCELLED) == ["a"]
    assert ids(queue, model="small") == ["b"]
    assert ids(queue, status=TaskStatus.CANCELLED, model="small") == []


def test_search_finds_names_and_texts_whatever_their_case_and_accents(queue: Queue) -> None:
    queue.submit("a", filename="Ärztekongress.mp3")
    queue.submit("b", filename="other.mp3")
    queue.complete(queue.claim("b"), text="Das große ESPAÑOL und 会议记录.")

    assert ids(queue, query="ärzte") == ["a"]
    assert ids(queue, query="A\u0308RZTE") == ["a"]
    assert ids(queue, query="GROSSE") == ["b"]
    assert ids(queue, query="会议") == ["b"]
    assert ids(queue, query="other") == ["b"]


@pytest.mark.parametrize("query", ["%", "_", "' OR 1=1 --", "/", "\\", "\ud800%"], ids=ascii)
def test_search_takes_its_text_literally(queue: Queue, query: str) -> None:
    queue.submit("a", filename="plain name")
    assert ids(queue, query=query) == []


def test_search_finds_characters_that_mean_something_in_sql(queue: Queue) -> None:
    queue.submit("a", filename="100% of_it's/here")
    queue.submit("b", filename="100x ofxit")
    for query in ("100%", "of_it", "it's", "/here"):
        assert ids(queue, query=query) == ["a"]


PIECES = ["%", "_", "'", '"', "--", ";", "/", "\\", " OR 1=1", "é", "É", "ß", "a", "0"]
SQL = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
KEPT = 20


@pytest.mark.proves("S29")
@budget(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=SQL, query=SQL, model=SQL)
def test_whatever_is_searched_for_is_text_and_never_sql(name: str, query: str, model: str, queue: Queue) -> None:
    """As a comparison of lists of words has it, which knows no pattern."""
    earlier = queue.manager.page(TaskFilter(limit=200)).tasks
    for task in earlier[KEPT:]:
        queue.manager.delete(task.id)
    new = queue.submit(f"t{earlier[0].seq if earlier else 0}", filename=name, owner=query, idempotency_key=None)
    expected = [task.id for task in (new, *earlier[:KEPT]) if is_found(query, task.filename)]
    assert ids(queue, query=query, limit=200) == expected
    assert ids(queue, model=model) == []
    assert (queue.manager.get(new.id).filename, queue.manager.get(new.id).owner) == (name, query)


def is_found(query: str, name: str) -> bool:
    words, phrases = words_of(name), read_query(query)
    return phrases != () and all(any(stands_at(at, words, phrase) for at in range(len(words))) for phrase in phrases)


def stands_at(at: int, words: list[str], phrase: Phrase) -> bool:
    found = words[at : at + len(phrase.words)]
    if phrase.is_prefix and len(found) == len(phrase.words):
        found[-1] = found[-1][: len(phrase.words[-1])]
    return tuple(found) == phrase.words


def test_no_statement_is_put_together_from_strings() -> None:
    """Where SQL is written by hand, it is a constant, or made of constants of ours."""
    found = []
    for path in sorted((ROOT / "optimizer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="text") | ast.Attribute(attr="exec_driver_sql"), args=[statement, *_]):
                    if any(isinstance(part, ast.JoinedStr | ast.BinOp) for part in ast.walk(statement)):
                        found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize(
    "cursor", ["", "x", "MTIz", "é", "YmVmb3JlIC0x", "YmVmb3JlIDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk", "=" * 9]
)
def test_a_cursor_that_is_not_ours_is_refused(queue: Queue, cursor: str) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        queue.manager.page(TaskFilter(cursor=cursor))
    assert refused.value.field == "cursor"


@pytest.mark.parametrize(("field", "value"), [("limit", 0), ("limit", 201), ("query", "x" * 501)])
def test_a_page_has_bounds(queue: Queue, field: str, value: object) -> None:
    with pytest.raises(InvalidOptionError):
        queue.manager.page(TaskFilter(**{field: value}))  # type: ignore[arg-type]
