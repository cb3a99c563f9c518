"""`python main.py keys`: what is shown, what is kept, and that a running server is not disturbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.program import run
from config import Settings
from optimizer.storage.store import TaskStore
from tests.optimizer.storage.helpers import edit

MakeSettings = Callable[..., Settings]


def serve_nothing() -> int:
    raise AssertionError("must not serve")


@pytest.fixture
def keys(make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs one command: exit code, output, errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(["keys", *arguments], serve=serve_nothing, load=make_settings)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return command


Keys = Callable[..., tuple[int, str, str]]


def test_a_key_is_shown_once_listed_without_its_text_and_revoked(keys: Keys) -> None:
    code, text, note = keys("add", "Alice")
    assert code == 0
    assert "of alice" in note
    key = text.strip()
    key_id = note.split()[1]
    listed = keys("list")[1]
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [[key_id, "alice"]]
    assert "never" in listed
    assert listed.rstrip().endswith("valid")
    assert key not in listed
    assert keys("revoke", key_id)[0] == 0
    assert "revoked" in keys("list")[1]
    assert keys("revoke", key_id)[0] == 0  # harmless when repeated


def test_what_cannot_be_done_is_said(keys: Keys) -> None:
    assert keys("revoke", "unknown")[0] == 1
    code, _, problem = keys("add", "two words")
    assert code == 1
    assert "name" in problem
    assert keys("add")[0] == 2


def test_the_database_is_made_where_there_is_none_and_private(keys: Keys, make_settings: MakeSettings) -> None:
    keys("add", "admin")
    data_dir = make_settings().data_dir
    assert (data_dir / "tasks.db").stat().st_mode & 0o777 == 0o600
    store = TaskStore(data_dir)
    store.open()  # a server may start on it
    store.close()


def test_a_database_of_another_version_is_left_as_it_is(keys: Keys, make_settings: MakeSettings) -> None:
    keys("add", "admin")
    data_dir: Path = make_settings().data_dir
    edit(data_dir, "UPDATE alembic_version SET version_num = '0001'")
    code, _, problem = keys("add", "alice")
    assert code == 3
    assert "0001" in problem
    edit(data_dir, "UPDATE alembic_version SET version_num = '9999'")
    assert keys("list")[0] == 3


def test_commands_work_beside_an_open_database(keys: Keys, make_settings: MakeSettings) -> None:
    store = TaskStore(make_settings().data_dir)
    make_settings().data_dir.mkdir(exist_ok=True)
    store.open()
    try:
        assert keys("add", "alice")[0] == 0
        with store.writing():
            assert keys("list")[0] == 0
    finally:
        store.close()
