"""The server that the browser tests share: the real program, with tiny.en on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.conftest import server_in


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[str]:
    """Its address. One server for all tests of the module, which therefore name their files apart."""
    with server_in(tmp_path_factory.mktemp("live"), "main", MODELS_DIR=str(models_dir)) as server:
        yield server.address
