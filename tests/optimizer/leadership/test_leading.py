"""A process of several while it leads, and on its way there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import Settings
from optimizer.leadership.shared_system import SharedSystem
from optimizer.tasks.events import Listener
from tests.optimizer.leadership.leaders import SmallSystem
from tests.postgresql_server import PostgresqlServer

URL = "postgresql://nobody:secret@127.0.0.1:1/nothing"


class Leading(SmallSystem):
    """Can be led."""

    def __init__(self) -> None:
        super().__init__()
        self.give_up: Callable[[], None]

    def start(self) -> None:
        """Nothing to be done."""

    def stop(self) -> None:
        """Nothing to be done."""

    def health(self) -> list[str]:
        return []

    def add_listener(self, _: Listener) -> None:
        """Nothing happens."""

    def when_given_up(self, act: Callable[[], None]) -> None:
        self.give_up = act


def settings(folder: Path, url: str = URL) -> Settings:
    return Settings(data_dir=folder, database_url=url, leader_election=True)


@pytest.fixture
def system() -> Leading:
    return Leading()


@pytest.fixture
def shared(tmp_path: Path, system: Leading) -> Iterator[SharedSystem]:
    shared = SharedSystem(settings(tmp_path), lambda: system)
    shared._files.make_folders()
    yield shared
    shared.stop()


def test_a_leader_that_may_store_nothing_any_more_ends_so_that_another_one_leads(
    shared: SharedSystem, system: Leading, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda *told: sent.append(told))
    shared._lead()
    assert sent == []
    system.give_up()
    assert sent == [(os.getpid(), signal.SIGTERM)]


@pytest.mark.parametrize("hosts", ["host=127.0.0.1:1&host=127.0.0.1:{port}", "host=127.0.0.1:{port}"])
def test_events_go_by_every_address_that_the_database_is_found_by(
    postgresql: PostgresqlServer, tmp_path: Path, hosts: str
) -> None:
    """And no setting of the database ends their connection because nothing happens."""
    name = postgresql.database()
    user = postgresql.url(name).partition("@")[0]
    shared = SharedSystem(settings(tmp_path, f"{user}@/{name}?{hosts.format(port=postgresql.port)}"), SmallSystem)  # type: ignore[arg-type]
    asked = "SELECT setting FROM pg_settings WHERE name = 'idle_session_timeout'"
    has_setting = bool(postgresql.execute(asked))
    if has_setting:
        postgresql.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '1h'")
    with shared._connect() as connection:
        assert connection.autocommit
        assert connection.execute(asked).fetchall() == ([("0",)] if has_setting else [])
    postgresql.execute(f"ALTER DATABASE {name} RESET ALL")
    shared.stop()
    postgresql.give_back(name)
