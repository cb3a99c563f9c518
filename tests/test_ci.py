"""Hosted CI runs what `.ci/run` runs, on the oldest Python that is promised, and may only read the repository."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.paths import ROOT


@pytest.fixture
def workflow() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    return parsed


def commands_of_ci_run() -> list[str]:
    return re.findall(r"^make .+$", (ROOT / ".ci" / "run").read_text(), re.M)


def test_the_workflow_runs_the_commands_of_the_script(workflow: dict[str, Any]) -> None:
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == commands_of_ci_run()


def test_every_job_is_bounded_in_time_and_only_reads_the_repository(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        assert "permissions" not in job, name


def test_the_oldest_promised_python_is_tested(workflow: dict[str, Any]) -> None:
    promised = re.search(r'^requires-python = ">=(\S+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert promised is not None
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"][0] == promised[1]
