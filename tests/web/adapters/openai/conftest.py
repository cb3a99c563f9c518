"""A client of OpenAI's API, without its packages."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from optimizer.tasks.task import Task, TaskFilter
from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"

Send = Callable[..., TestResponse]


@pytest.fixture
def send(client: FlaskClient) -> Send:
    """fields: several of one name as a list. headers: of the request."""

    def post(
        address: str = TRANSCRIPTIONS, data: bytes = RECORDING, headers: dict[str, str] | None = None, **fields: Any
    ) -> TestResponse:
        form = {"file": FileStorage(BytesIO(data), filename="a.flac"), "model": "whisper-1", **fields}
        boundary, body = encode_multipart({name: value for name, value in form.items() if value is not None})
        content_type = f"multipart/form-data; boundary={boundary}"
        return client.post(address, data=body, content_type=content_type, headers=headers)

    return post


@pytest.fixture
def spoken(system: FakeSystem) -> FakeSystem:
    """The system, where every new task is completed with two segments."""
    system.when_pending = lambda task_id: system.complete(task_id, " Good morning,", " world.")
    return system


def only_task(system: FakeSystem) -> Task:
    ((view,), _, _) = system.tasks(TaskFilter())
    return view.task


def fault_of(response: TestResponse) -> tuple[int, str | None, str | None]:
    """(status, param, code). Checks the four keys that OpenAI's errors have."""
    error = response.get_json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["param"], error["code"]
