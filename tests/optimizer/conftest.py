"""A clock that only tests move, and a queue on a database of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.common import failpoints
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(tmp_path: Path, clock: FakeClock) -> Iterator[Queue]:
    with running_queue(tmp_path, clock) as queue:
        yield queue


@pytest.fixture(autouse=True)
def no_failpoint_stays_armed() -> Iterator[None]:
    yield
    failpoints.disarm()
