"""What the server says of itself while it runs."""

from __future__ import annotations

import pytest

from optimizer.storage.sqlite import SqliteDialect
from tests.system.conftest import Open


def test_a_server_that_may_store_nothing_any_more_asks_for_a_restart(
    open_system: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_system() as system:
        assert system.health() == []
        monkeypatch.setattr(SqliteDialect, "obstacle", lambda _: "The database is another one.")
        assert system.health() == ["The database is another one."]
