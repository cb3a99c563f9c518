"""Webhooks over HTTP, and the address that an upload carries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from config import Settings
from tests.web.api_description import ADDRESS
from tests.web.fake_system import FakeSystem
from tests.web.requests import error_of, send
from web.application import create_app

HOOK = "https://example.org/hook"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 1}, "url"),
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": f"{HOOK}/\ud800"}, "url"),
        ({"url": HOOK, "events": []}, "events"),
        ({"url": HOOK, "events": ["task.started"]}, "events.0"),
        ({"url": HOOK, "secret": "mine"}, "secret"),
    ],
)
def test_a_bad_webhook_names_its_field(client: FlaskClient, body: dict[str, object], field: str) -> None:
    assert error_of(client.post("/api/webhooks", json=body)) == (422, "invalid_option", field)


def test_a_webhook_is_made_listed_tested_and_removed(client: FlaskClient) -> None:
    made = client.post("/api/webhooks", json={"url": HOOK}).get_json()
    assert made["secret"].startswith("whsec_")
    assert client.get("/api/webhooks").get_json() == {"webhooks": [made["webhook"]]}
    address = f"/api/webhooks/{made['webhook']['id']}"
    delivery = client.post(f"{address}/test").get_json()["delivery"]
    assert client.get(f"{address}/deliveries").get_json() == {"deliveries": [delivery]}
    assert client.get(f"{address}/deliveries?before={delivery['id']}").get_json() == {"deliveries": []}
    assert client.delete(address).status_code == 204
    assert error_of(client.delete(address)) == (404, "webhook_not_found", None)


def test_an_upload_may_carry_an_address(client: FlaskClient, system: FakeSystem) -> None:
    task_id = send(client, callback_url=HOOK).get_json()["task"]["id"]
    assert system.callback_urls[task_id] == HOOK
    assert error_of(send(client, callback_url="http://[::1]/")) == (422, "invalid_option", "callback_url")
    assert system.callback_urls[send(client, callback_url="").get_json()["task"]["id"]] is None


def test_without_the_setting_there_is_no_input_for_an_address(
    make_settings: Callable[..., Settings], root: Path
) -> None:
    system = FakeSystem(make_settings(max_upload_mb=1))
    client = create_app(system.settings, system, root=root).test_client()
    assert error_of(client.post("/api/webhooks", json={"url": HOOK})) == (404, "not_found", None)
    assert error_of(send(client, callback_url=HOOK)) == (422, "invalid_option", "callback_url")
    assert "callback_url" not in client.get(ADDRESS).text
    system.stop()
