"""What every package's tests share: recordings, weights, settings that read nothing from outside, and a clean end."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from config import Settings

# So that a helper's failed assertion shows its values, as a test's does. Before any of them is imported.
pytest.register_assert_rewrite(*(f"tests.{entry.stem}" for entry in Path(__file__).parent.iterdir()))

from tests import postgresql_server  # noqa: E402
from tests.databases import POSTGRESQL, SQLITE, Databases, used  # noqa: E402
from tests.leaks import SETTLE_S, described, mark_session, nothing_left_behind, orphans  # noqa: E402
from tests.paths import DATA, MODELS_DIR  # noqa: E402
from tests.properties import load_profiles  # noqa: E402

load_profiles()
mark_session()
# Test runs side by side, and the servers that they start, would fight for the cores: OpenMP's threads spin while they
# wait for each other. Tests that are about several threads ask for them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# Triton's kernels run on the CPU. Read when triton is imported, which nothing has done yet.
os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def recordings() -> list[dict[str, Any]]:
    """The manifest's entries, each with its `path`."""
    entries: list[dict[str, Any]] = json.loads((DATA / "manifest.json").read_text())
    return [{**entry, "path": DATA / entry["file"]} for entry in entries]


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Where `make test` put tiny.en's weights; without them the test is skipped, except where CI must have them."""
    from whisper_core.models.weight_files import locate

    if locate("tiny.en", MODELS_DIR) is None:
        message = "tiny.en is not here: `make test` fetches it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return MODELS_DIR


@pytest.fixture
def make_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings from arguments alone, with everything under the test's own folder."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def make(**values: Any) -> Settings:
        own = {
            "data_dir": tmp_path / "data",
            "models_dir": tmp_path / "models",
            "min_free_disk_mb": 0,
            "devices": "cpu",
        }
        return Settings(_env_file=None, **{**own, **values})

    return make


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgresql_server.PostgresqlServer]:
    """A server of the tests' own; without PostgreSQL the test is skipped, except where CI must have it."""
    if (reason := postgresql_server.missing()) is not None:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with postgresql_server.running() as server, postgresql_server.outliving(server):
        yield server


@pytest.fixture
def each_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Databases]:
    """The test runs on each kind, see tests/databases.py."""
    databases = Databases(request.getfixturevalue("postgresql") if request.param == POSTGRESQL else None)
    with used(databases, monkeypatch):
        yield databases
    databases.give_back()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "each_database" in metafunc.fixturenames:
        kinds = [SQLITE] if metafunc.definition.get_closest_marker("sqlite") else [SQLITE, POSTGRESQL]
        metafunc.parametrize("each_database", kinds, indirect=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: one more than there are cores, because a test of a real server waits for most of its time."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Reports travel between processes as UTF-8; what a test logged on purpose may not be."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True, scope="module")
def long_lived_objects_are_set_aside() -> None:
    """What lives before a module's fixtures stays, so the collection after each test need not look at it (200 ms)."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Every test ends with the threads and child processes that it began with."""
    with nothing_left_behind():
        yield


@pytest.fixture(scope="session", autouse=True)
def leaves_no_orphans() -> Iterator[None]:
    """No process of any test goes on without its parent, as a device's worker might after its server was killed."""
    yield
    _, alive = psutil.wait_procs(orphans(), timeout=SETTLE_S)
    assert [described(process) for process in alive] == []
