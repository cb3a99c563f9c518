"""The web package asks for nothing that a process without the queue cannot pass on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config import Settings
from optimizer.leadership.calls import CALLS, CONTEXTS
from optimizer.leadership.shared_system import SharedSystem
from tests.optimizer.leadership.leaders import SmallSystem
from tests.paths import ROOT
from web.http.system_port import SystemPort

PARTS = "admission|editor|keys|ownership|parts|shares|waveforms|webhooks"


@pytest.fixture
def shared(tmp_path: Path) -> SharedSystem:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://nobody@127.0.0.1/nothing", leader_election=True)
    return SharedSystem(settings, SmallSystem)  # type: ignore[arg-type]


def test_everything_that_the_web_package_needs_of_a_system_is_there(shared: SharedSystem) -> None:
    declared = {name for name in (*vars(SystemPort), *SystemPort.__annotations__) if not name.startswith("_")}
    assert {name for name in declared if not hasattr(shared, name)} == set()


def test_everything_that_it_asks_of_a_systems_parts_is_passed_on(shared: SharedSystem) -> None:
    asked = set()
    for path in sorted((ROOT / "web").rglob("*.py")):
        asked |= set(re.findall(rf"\b(?:{PARTS})(?:\(\))?(?:\.\w+)+(?=\()", path.read_text()))
    names = {name.replace("()", "") for name in asked}
    names = {name for name in names if not name.startswith(("admission.models.", "webhooks.register", "parts.append("))}
    unknown = {name for name in names if name not in CALLS | CONTEXTS}
    assert unknown == set()
    assert len(names) > 20


def test_nothing_else_is(shared: SharedSystem) -> None:
    for missing in ("recover", "_queue", "nothing"):
        with pytest.raises(AttributeError):
            getattr(shared, missing)
    with pytest.raises(AttributeError):
        shared.editor.assign_speakers  # noqa: B018 - the access is what is tested
