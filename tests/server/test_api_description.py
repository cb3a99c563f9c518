"""The real system's answers against the OpenAPI description; tests/web has its words from a fake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paths import SHORT
from tests.server.client import Client
from tests.web.api_description import ADDRESS, ApiDescription
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server


def test_every_answer_has_what_its_description_names_and_nothing_else(
    start_server: Callable[..., RunningServer], twenty_minutes: Path
) -> None:
    """While one task runs and another is done."""
    with start_server(PERFORMANCE_MONITOR_INTERVAL="1") as server:
        client = Client(server)
        description = ApiDescription(client.get(ADDRESS).json())
        done = client.upload(SHORT)["id"]
        client.wait_for(done, "completed")
        client.upload(twenty_minutes, initial_prompt="window_s=0.5")
        client.wait_until(lambda: client.get("/api/system").json()["devices"][0]["tasks"] != [], "a running task")
        client.wait_until(lambda: client.get("/api/system/history").json()["samples"] != [], "a sample")
        checked = 0
        for operation in description.operations():
            schema = operation.json_schema("200") if "200" in operation.responses else None
            if operation.method != "GET" or schema is None:
                continue
            answer = client.get(operation.path.format(id=done, model="tiny.en"))
            assert (answer.status_code, description.faults(schema, answer.json())) == (200, []), str(operation)
            checked += 1
        assert checked == 18
