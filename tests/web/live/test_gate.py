"""Who may connect to the live feed: how many in all, how many of one address."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.web.conftest import MakeSettings
from tests.web.fake_system import FakeSystem
from web.application import create_app

MAX_CLIENTS = 8
ADDRESS = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture
def few(make_settings: MakeSettings, root: object) -> FlaskClient:
    """A server for eight clients, all of which may poll."""
    settings = make_settings(max_live_clients=MAX_CLIENTS, web_threads=64)
    return create_app(settings, FakeSystem(settings), root=root).test_client()  # type: ignore[arg-type]


def connect(client: FlaskClient, address: str) -> int:
    return client.get(ADDRESS, environ_overrides={"REMOTE_ADDR": address}).status_code


def test_one_address_gets_a_quarter_of_the_places(few: FlaskClient) -> None:
    assert [connect(few, "192.0.2.1") for _ in range(3)] == [200, 200, 503]
    assert [connect(few, "2001:db8::1"), connect(few, "2001:db8::2"), connect(few, "2001:db8::3")] == [200, 200, 503]
    assert connect(few, "192.0.2.2") == 200


def test_this_machine_gets_them_all_and_not_one_more(few: FlaskClient) -> None:
    """A proxy on it has the same address for everybody."""
    assert [connect(few, "127.0.0.1") for _ in range(MAX_CLIENTS + 1)] == [200] * MAX_CLIENTS + [503]


def test_a_forwarded_address_does_not_count(few: FlaskClient) -> None:
    """Nobody can use up another's share, or get more than one's own, by a header."""
    for number in range(2):
        headers = {"X-Forwarded-For": f"192.0.2.{number}"}
        overrides = {"REMOTE_ADDR": "198.51.100.1"}
        assert few.get(ADDRESS, headers=headers, environ_overrides=overrides).status_code == 200
    assert connect(few, "192.0.2.0") == 200
    assert connect(few, "198.51.100.1") == 503


@pytest.mark.parametrize("session", ["", "&sid=nobody"])
def test_half_a_handshake_is_refused_and_keeps_no_place(few: FlaskClient, session: str) -> None:
    """Without `Connection: Upgrade`, as behind a proxy that removes it."""
    address = ADDRESS.replace("polling", "websocket") + session
    for _ in range(MAX_CLIENTS + 1):
        response = few.get(address, headers={"Upgrade": "websocket", "Connection": "close"})
        assert (response.status_code, response.get_json()["error"]["code"]) == (400, "bad_request")
    assert connect(few, "192.0.2.1") == 200
