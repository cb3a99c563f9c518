"""A server with accounts, and people who use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config import Settings
from optimizer.accounts.key_store import KeyStore
from tests.optimizer.fakes import FakeClock
from tests.web.fake_system import FakeSystem
from web.application import Application, create_app

PEOPLE = ("alice", "mallory", "admin")


def key_of(name: str) -> str:
    return f"the-key-of-{name}-" + name[0] * 32


API_KEYS = ",".join(f"{name}:{key_of(name)}" for name in PEOPLE)


@dataclass
class Site:
    """An application with accounts, around a FakeSystem."""

    app: Application
    system: FakeSystem
    clock: FakeClock

    @property
    def nobody(self) -> FlaskClient:
        return self.app.test_client()

    def by_key(self, name: str, key: str | None = None) -> FlaskClient:
        """A script that sends its key with every request."""
        client = self.app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key or key_of(name)}"
        return client

    def by_session(self, name: str, key: str | None = None) -> FlaskClient:
        """A browser that has logged in."""
        client = self.app.test_client()
        assert log_in(client, name, key).status_code == 303
        return client

    @property
    def keys(self) -> KeyStore:
        """As a command beside the server has it."""
        return KeyStore(self.system.store.database, self.clock, self.system.accounts.audit)

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)


def log_in(client: FlaskClient, name: str, key: str | None = None, **options: Any) -> TestResponse:
    return client.post("/login", data={"name": name, "key": key or key_of(name)}, **options)


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(make_settings: Callable[..., Settings], root: Path) -> Iterator[MakeSite]:
    """A site with these settings; the keys of PEOPLE unless they say otherwise."""
    made: list[Site] = []

    def make(**settings: Any) -> Site:
        clock = FakeClock()
        system = FakeSystem(
            make_settings(**{"max_upload_mb": 1, "api_keys": API_KEYS, "enable_webhooks": True, **settings}), clock
        )
        made.append(Site(create_app(system.settings, system, root=root, monotonic=clock.monotonic), system, clock))
        return made[-1]

    yield make
    for site in made:
        site.system.stop()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()
