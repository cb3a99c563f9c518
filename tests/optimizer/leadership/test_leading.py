"""A process of several while it leads, and on its way there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import Settings
from errors import NoLeaderError, TaskNotFoundError
from optimizer.leadership import channel_server, event_publisher
from optimizer.leadership.shared_system import LOOK_AGAIN_S, SharedSystem
from optimizer.tasks.events import Listener
from tests.optimizer.leadership.leaders import SmallSystem
from tests.postgresql_server import PostgresqlServer
from web.server import gunicorn_app

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

    def transcript(self, task_id: str, *, is_original: bool) -> tuple[str, bool]:
        return f"of {task_id}", is_original

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


@pytest.fixture
def waiting(shared: SharedSystem, monkeypatch: pytest.MonkeyPatch) -> SharedSystem:
    """No process leads, and to find that out takes no time."""

    def refuse(*_: object) -> None:
        raise NoLeaderError()

    monkeypatch.setattr(shared._route, "call", refuse)
    return shared


def test_a_process_that_waits_for_a_leader_ends_when_it_is_asked_to(
    waiting: SharedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(waiting._pause, "wait", lambda _: signal.raise_signal(signal.SIGTERM))
    try:
        with pytest.raises(SystemExit) as end:
            waiting._wait_for_leader()
        assert (end.value.code, asked) == (0, [signal.SIGTERM])
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_process_that_waits_for_a_leader_asks_now_and_then(
    waiting: SharedSystem, system: Leading, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []

    def pause(limit_s: float) -> None:
        paused.append(limit_s)
        if len(paused) == 3:
            waiting._route.lead(system)

    monkeypatch.setattr(waiting._pause, "wait", pause)
    waiting._wait_for_leader()
    assert paused == [LOOK_AGAIN_S] * 3


def test_a_leaders_stop_leaves_the_system_half_of_the_time_that_its_master_gives_it() -> None:
    """After the requests that run."""
    left_s = gunicorn_app.MASTER_GRACE_S - gunicorn_app.WORKER_GRACE_S
    assert left_s / 2 >= 2 * channel_server.STOP_LIMIT_S + event_publisher.STOP_LIMIT_S


def test_transcripts_are_read_without_a_leader_and_by_the_system_once_this_process_leads(
    postgresql: PostgresqlServer, tmp_path: Path, system: Leading
) -> None:
    name = postgresql.database()
    shared = SharedSystem(settings(tmp_path, postgresql.url(name)), lambda: system)
    shared._files.make_folders()
    with pytest.raises(TaskNotFoundError):
        shared.transcript("nothing")
    shared._lead()
    assert shared.transcript("a") == ("of a", False)
    shared.stop()
    postgresql.give_back(name)
