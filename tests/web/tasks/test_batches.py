"""Uploads that are sent as a batch, by a form or by tus, and what is done with all of them."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING, error_of, send
from tests.web.tasks.tus_client import TusClient

BATCH: dict[str, Any] = {"batch": "of-may", "batch_name": "Interviews, May"}


def test_a_batch_comes_by_form_and_by_tus_and_is_summed_up(client: FlaskClient, system: FakeSystem) -> None:
    by_form = send(client, **BATCH).get_json()["task"]
    tus = TusClient(client)
    upload = tus.created(len(RECORDING), filename="b.flac", **BATCH)
    task_id = tus.patch(upload, 0, RECORDING).headers["Task-Id"]
    by_tus = client.get(f"/api/tasks/{task_id}").get_json()["task"]
    assert by_form["batch"] == by_tus["batch"] == {"id": "of-may", "name": "Interviews, May"}
    assert send(client, b"fLaC alone").get_json()["task"]["batch"] is None

    system.complete(task_id)
    (batch,) = client.get("/api/batches").get_json()["batches"]
    assert (batch["id"], batch["name"], batch["tasks"], batch["progress"]) == ("of-may", "Interviews, May", 2, 0.5)
    assert (batch["counts"]["completed"], batch["counts"]["pending"]) == (1, 1)
    assert len(client.get("/api/tasks?batch=of-may").get_json()["tasks"]) == 2

    for cancelled in (1, 0):
        assert client.delete("/api/batches/of-may").get_json() == {"cancelled": cancelled}
    assert error_of(client.delete("/api/batches/another")) == (404, "batch_not_found", None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"batch": "a b"}, "batch"),
        ({"batch_name": "x"}, "batch_name"),
        ({**BATCH, "batch_name": "x" * 201}, "batch_name"),
    ],
)
def test_what_is_no_batch_is_refused_and_nothing_is_kept(
    client: FlaskClient, system: FakeSystem, fields: dict[str, Any], field: str
) -> None:
    assert error_of(send(client, **fields)) == (422, "invalid_option", field)
    assert not any((system.settings.data_dir / "media").iterdir())


@pytest.mark.parametrize("body", [{}, {"q": ""}, {"all": False}, {"status": None}])
def test_everything_is_cancelled_only_when_that_is_said(
    client: FlaskClient, system: FakeSystem, body: dict[str, Any]
) -> None:
    system.add("harbour.mp3")
    system.add("other.mp3")
    assert error_of(client.post("/api/tasks/cancel", json=body)) == (422, "invalid_option", "all")
    assert client.post("/api/tasks/cancel", json={"q": "harbour"}).get_json() == {"cancelled": 1}
    assert client.post("/api/tasks/cancel", json={"all": True}).get_json() == {"cancelled": 1}
