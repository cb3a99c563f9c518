"""The databases of all releases are brought to this one's tables, with every task in them, whatever is killed."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from errors import DatabaseDamagedError
from optimizer.common import failpoints
from optimizer.storage.schema import SCHEMA_REVISION
from optimizer.storage.store import TaskStore
from optimizer.tasks.task import TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.faults import NthHit, kill_process
from tests.optimizer.queue.helpers import running_queue
from tests.optimizer.storage.helpers import edit
from tests.optimizer.storage.released_schemas import SCHEMAS, STATES, load
from tests.paths import ROOT
from tests.slow_cases import slow

RELEASED = sorted(path.stem for path in SCHEMAS.glob("*.sql"))


def test_the_databases_of_all_releases_are_here() -> None:
    assert {"0001", "0002", "0003"} <= set(RELEASED)


@pytest.mark.parametrize("revision", RELEASED)
def test_a_released_database_is_migrated_with_all_its_tasks(tmp_path: Path, revision: str) -> None:
    load(revision, tmp_path)
    with running_queue(tmp_path, FakeClock()) as queue:
        assert queue.report.bad_records == ()
        assert queue.report.interrupted == ("processing",)
        tasks = {state: queue.manager.get(state) for state in STATES}
        found = {state: task.status.value for state, task in tasks.items()}
        assert found == {state: state for state in STATES} | {"processing": "pending"}
        assert {task.filename for task in tasks.values()} == {f"{state}.mp3" for state in STATES}
        assert [task.idempotency_key for task in tasks.values()] == [f"key of {state}" for state in STATES]
        assert [window.index for window in queue.manager.windows("processing")] == [0]
        assert queue.submit("next").seq == len(STATES) + 1
        assert queue.manager.counts()[TaskStatus.PENDING] == 3


def revision_of(data_dir: Path) -> str:
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.mark.proves("F44")
@pytest.mark.parametrize("every", [3, slow(1)])
def test_a_migration_that_is_killed_at_any_step_leaves_old_or_new_tables_and_both_start(
    tmp_path: Path, every: int
) -> None:
    for step in itertools.count(1, every):
        data_dir = tmp_path / f"data-{step}"
        data_dir.mkdir()
        load("0001", data_dir)
        ended = subprocess.run(
            [sys.executable, "-m", "tests.optimizer.storage.test_released_schemas", str(data_dir), str(step)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode in (0, -9), ended.stderr
        assert revision_of(data_dir) in ("0001", SCHEMA_REVISION)
        with running_queue(data_dir, FakeClock()) as queue:
            assert queue.store.ids() == set(STATES)
        assert revision_of(data_dir) == SCHEMA_REVISION
        if ended.returncode == 0:
            break
    assert step > 5

    edit(data_dir, "UPDATE alembic_version SET version_num = '9999'")
    before = (data_dir / "tasks.db").read_bytes()
    with pytest.raises(DatabaseDamagedError, match="database is newer") as refused:
        TaskStore(data_dir).open()
    assert (refused.value.exit_code, (data_dir / "tasks.db").read_bytes()) == (3, before)


if __name__ == "__main__":
    failpoints.arm(NthHit(int(sys.argv[2]), kill_process).everywhere())
    store = TaskStore(Path(sys.argv[1]))
    store.open()
    store.close()
