"""An address that waits as an adapter's does, and requests to it on threads of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from flask import Response, jsonify
from werkzeug.test import TestResponse

from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING
from web.adapters.upload import transcribe_upload
from web.adapters.waiting import WaitingRoom, waiting_room_of
from web.application import Application
from web.http.client_presence import CLIENT_IS_GONE
from web.tasks.uploads import UploadForm

LIMIT_S = 60.0
ADDRESS = "/waits"


class Waiter:
    """Sends a recording to ADDRESS and waits for the answer, until it hangs up."""

    def __init__(self, app: Application, threads: ThreadPoolExecutor, headers: dict[str, str]) -> None:
        self._is_gone = False
        self._answer: Future[TestResponse] = threads.submit(self._send, app, headers)

    def hang_up(self) -> None:
        self._is_gone = True

    @property
    def answer(self) -> TestResponse:
        return self._answer.result(LIMIT_S)

    def _send(self, app: Application, headers: dict[str, str]) -> TestResponse:
        data = {"recording": (BytesIO(RECORDING), "a.flac")}
        environ: Any = {CLIENT_IS_GONE: lambda: self._is_gone}
        return app.test_client().post(ADDRESS, data=data, headers=headers, environ_overrides=environ)


SendAndWait = Callable[..., Waiter]


@pytest.fixture
def room(app: Application) -> WaitingRoom:
    return waiting_room_of(app)


@pytest.fixture
def send_and_wait(app: Application, system: FakeSystem) -> Iterator[SendAndWait]:
    """A request that waits; its task exists when this returns."""

    def wait_for_text() -> Response:
        result = transcribe_upload(UploadForm(file_field="recording"))
        return jsonify(text=result.transcript.text, filename=result.task.filename)

    app.add_url_rule(ADDRESS, view_func=wait_for_text, methods=["POST"])
    with ThreadPoolExecutor() as threads:
        yield lambda **headers: Waiter(app, threads, headers)
        waiting_room_of(app).close()
