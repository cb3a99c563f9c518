"""Invented requests to a server with accounts: from nobody, from an owner, and from an owner about another's tasks."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st

from optimizer.tasks.task import TaskFilter
from tests.properties import budget
from tests.web.access.conftest import MakeSite, Site, key_of
from tests.web.test_api_schema import CHECKS, SEARCH, TASK_MAKERS, operations_of

STATES = [kind for kind in TASK_MAKERS if kind != "invented"]
EXAMPLES = 5  # of each operation and person
OPEN_TO_ALL = {"/healthz", "/readyz"}
HEADERS = {name: {"Authorization": f"Bearer {key_of(name)}"} for name in ("alice", "mallory", "admin")}

# schemathesis leaves the answers of WSGI applications open, and with them the files that they stream.
pytestmark = [
    pytest.mark.hypothesis,  # the searches are inside the tests
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(requests_per_minute=0)


def test_nobody_gets_anything_but_a_refusal(site: Site) -> None:
    for operation in operations_of(site.app, **HEADERS["admin"]):

        @budget(EXAMPLES, **SEARCH)
        @given(case=operation.as_strategy(), task_kind=st.sampled_from(list(TASK_MAKERS)))
        def refused(case: schemathesis.Case[Any], task_kind: str) -> None:
            task_id = TASK_MAKERS[task_kind](site.system, "alice")
            if task_id and "id" in case.path_parameters:
                case.path_parameters["id"] = task_id
            answer = case.call_and_validate(checks=list(CHECKS))
            assert answer.status_code == (200 if case.path in OPEN_TO_ALL else 401)

        refused()
    assert site.system.fetched == []


@pytest.mark.parametrize("name", ["alice", "admin"])
def test_an_owner_and_the_admin_are_answered_as_documented(site: Site, name: str) -> None:
    for operation in operations_of(site.app, **HEADERS["admin"]):

        @budget(EXAMPLES, **SEARCH)
        @given(case=operation.as_strategy(), task_kind=st.sampled_from(list(TASK_MAKERS)))
        def answer_as_documented(case: schemathesis.Case[Any], task_kind: str) -> None:
            task_id = TASK_MAKERS[task_kind](site.system, "alice")
            if task_id and "id" in case.path_parameters:
                case.path_parameters["id"] = task_id
            answer = case.call_and_validate(checks=list(CHECKS), headers=HEADERS[name])
            assert answer.status_code != 401

        answer_as_documented()


def test_one_owner_neither_sees_nor_changes_anything_of_another(site: Site) -> None:
    """Whatever is asked about a task of Mallory's: to Alice it is not there, and Mallory finds it as it was."""
    for operation in operations_of(site.app, **HEADERS["admin"]):

        @budget(EXAMPLES, **SEARCH)
        @given(
            case=operation.as_strategy(),
            task_kind=st.sampled_from([kind for kind in TASK_MAKERS if kind != "invented"]),
        )
        def keeps_them_apart(case: schemathesis.Case[Any], task_kind: str) -> None:
            task_id = TASK_MAKERS[task_kind](site.system, "mallory")
            before = site.system.task(task_id).task
            if "id" in case.path_parameters:
                case.path_parameters["id"] = task_id
            if case.query and "ids" in case.query:
                case.query["ids"] = task_id
            answer = case.call_and_validate(checks=list(CHECKS), headers=HEADERS["alice"])
            assert task_id.encode() not in answer.content
            assert "id" not in case.path_parameters or answer.status_code in (400, 404, 413, 415, 422)
            assert site.system.task(task_id).task == before

        keeps_them_apart()
    others = site.system.tasks(TaskFilter(owner="mallory", limit=200))[0]
    assert {view.task.owner for view in others} == {"mallory"}
