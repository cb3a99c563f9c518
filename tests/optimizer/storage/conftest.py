"""A task's files in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.storage.task_files import TaskFiles


@pytest.fixture
def files(tmp_path: Path) -> Iterator[TaskFiles]:
    files = TaskFiles(tmp_path)
    files.acquire_lock()
    yield files
    files.release_lock()
