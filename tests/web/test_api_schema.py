"""The API against its own OpenAPI document: invented requests, no server error, every answer as documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.properties import budget
from tests.web.fake_system import FakeSystem
from web.application import Application

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
OPERATIONS = 50
EXAMPLES = 12  # of each operation

# By the state in which the task is; each gets the system and whose the task is.
TASK_MAKERS: dict[str, Callable[[FakeSystem, str], str]] = {
    "invented": lambda system, owner: "",
    "waiting": lambda system, owner: system.add(owner=owner).id,
    "running": lambda system, owner: system.finish_window(system.add(owner=owner).id, " text").task_id,
    "completed": lambda system, owner: system.complete(system.add(owner=owner).id, " text").task.id,
    "failed": lambda system, owner: system.fail(system.add(owner=owner).id, "poison", "Not tried again.").task.id,
}
SEARCH = {"phases": [Phase.explicit, Phase.generate], "suppress_health_check": list(HealthCheck)}


# schemathesis leaves the answers of WSGI applications open, and with them the files that they stream.
@pytest.mark.hypothesis  # the searches are inside it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_invented_requests_are_answered_as_documented(app: Application, system: FakeSystem) -> None:
    """Each operation with invented arguments, and with ids of tasks in every state."""
    for operation in operations_of(app):

        @budget(EXAMPLES, **SEARCH)
        @given(case=operation.as_strategy(), task_kind=st.sampled_from(list(TASK_MAKERS)))
        def answer_as_documented(case: schemathesis.Case[Any], task_kind: str) -> None:
            task_id = TASK_MAKERS[task_kind](system, "")
            if task_id and "id" in case.path_parameters:
                case.path_parameters["id"] = task_id
            case.call_and_validate(checks=list(CHECKS))

        answer_as_documented()


def operations_of(app: Application, **headers: str) -> list[Any]:
    """Every operation of the application's own description. headers: of the request for it.

    A new task is completed at once, because some operations wait for that.
    """
    system: FakeSystem = app.extensions["transcription_system"]
    system.when_pending = system.complete
    document = schemathesis.openapi.from_wsgi("/openapi/openapi.json", app, headers=headers)
    operations = [result.ok() for result in document.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) == OPERATIONS
    return operations
