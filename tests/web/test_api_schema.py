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
OPERATIONS = 21
EXAMPLES = 12  # of each operation

TASK_MAKERS: dict[str, Callable[[FakeSystem], str]] = {
    "invented": lambda _: "",
    "waiting": lambda system: system.add().id,
    "running": lambda system: system.finish_window(system.add().id, " text").task_id,
    "completed": lambda system: system.complete(system.add().id, " text").task.id,
    "failed": lambda system: system.fail(system.add().id, "poison", "Not tried again.").task.id,
}


# schemathesis leaves the answers of WSGI applications open, and with them the files that they stream.
@pytest.mark.hypothesis  # the searches are inside it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_invented_requests_are_answered_as_documented(app: Application, system: FakeSystem) -> None:
    """Each operation with invented arguments, and with ids of tasks in every state."""
    document = schemathesis.openapi.from_wsgi("/openapi/openapi.json", app)
    operations = [result.ok() for result in document.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) == OPERATIONS
    for operation in operations:

        @budget(
            EXAMPLES,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), task_kind=st.sampled_from(list(TASK_MAKERS)))
        def answer_as_documented(case: schemathesis.Case[Any], task_kind: str) -> None:
            task_id = TASK_MAKERS[task_kind](system)
            if task_id and "id" in case.path_parameters:
                case.path_parameters["id"] = task_id
            case.call_and_validate(checks=list(CHECKS))

        answer_as_documented()
