"""A node of a cluster as a service and in a container: both start Ray as docs/cluster.md does, and keep the token to
themselves."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import Settings
from tests.deploy.units import assert_exposes_at_most, assert_understood, needs_systemd
from tests.paths import ROOT

UNIT = ROOT / "deploy/whisper-scheduler-node.service"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.node.yaml").read_text())
SERVER_COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
PROGRAM = "/usr/local/lib/whisper-scheduler/.venv/bin/ray"
SERVICES = ["cpu", "gpu"]
MOST_EXPOSURE = 35  # tenths; it was 32 with systemd 252. The server's may be less: Ray's system calls are its own.


def unit_section(name: str) -> dict[str, list[str]]:
    """Its lines by their names, which may come more than once."""
    section = re.search(rf"(?ms)^\[{name}\]\n(.*?)(?=^\[|\Z)", UNIT.read_text())
    assert section is not None
    found: dict[str, list[str]] = {}
    for line in section[1].splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def unit_environment() -> dict[str, str]:
    return dict(each.split("=", 1) for each in unit_section("Service")["Environment"])


def documented_start() -> tuple[dict[str, str], set[str]]:
    """How docs/cluster.md starts Ray on a further machine: variables, and options without the two that differ."""
    (line,) = re.findall(r"(?m)^RAY_\S+ .*ray start --address=.*$", (ROOT / "docs/cluster.md").read_text())
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words if re.match(r"RAY_\w+=", word))
    return variables, options_of(words)


def options_of(words: list[str]) -> set[str]:
    found = {word for word in words if word.startswith("--")}
    assert {word.partition("=")[0] for word in found} >= {"--address", "--node-name"}
    return {word for word in found if word.partition("=")[0] not in ("--address", "--node-name", "--block")}


@pytest.fixture
def installed_unit(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))
    return path


def test_the_service_starts_ray_as_the_document_does() -> None:
    variables, options = documented_start()
    (command,) = unit_section("Service")["ExecStart"]
    program, start, *words = shlex.split(command)
    assert (program, start) == (PROGRAM, "start")
    assert "--block" in words
    assert options_of(words) == options
    assert variables.items() <= unit_environment().items()


@pytest.mark.parametrize("name", SERVICES)
def test_the_container_starts_ray_as_the_document_does(name: str) -> None:
    variables, options = documented_start()
    service = COMPOSE["services"][name]
    shell, flag, command = service["entrypoint"]
    assert (shell, flag) == ("/bin/sh", "-c")
    words = shlex.split(command)
    assert words[:3] == ["exec", "ray", "start"]  # so that signals reach it
    assert "--block" in words
    assert options_of(words) == options
    assert variables.items() <= service["environment"].items()


@needs_systemd
def test_systemd_understands_every_line_of_the_service(installed_unit: Path) -> None:
    assert_understood(installed_unit)


@needs_systemd
def test_little_is_left_that_a_node_may_do_beyond_its_work(installed_unit: Path) -> None:
    assert_exposes_at_most(MOST_EXPOSURE, installed_unit)


def test_a_service_whose_head_is_gone_tries_again_for_as_long_as_it_takes() -> None:
    assert unit_section("Service")["Restart"] == ["always"]
    assert unit_section("Unit")["StartLimitIntervalSec"] == ["0"]


def test_a_service_that_is_stopped_has_not_failed() -> None:
    """Ray ends with 1 when it gets SIGTERM; `make prove-node` shows it."""
    assert unit_section("Service")["SuccessExitStatus"] == ["1"]


def test_the_service_gets_the_token_from_a_file_that_only_root_reads() -> None:
    service, environment = unit_section("Service"), unit_environment()
    (credential,) = service["LoadCredential"]
    name, _, _ = credential.partition(":")
    assert environment["RAY_AUTH_TOKEN_PATH"] == f"%d/{name}"
    assert "RAY_AUTH_TOKEN" not in environment


def test_the_service_runs_in_its_checkout_and_keeps_its_data_where_systemd_says() -> None:
    service, environment = unit_section("Service"), unit_environment()
    assert service["WorkingDirectory"] == [PROGRAM.removesuffix("/.venv/bin/ray")]
    folder = f"%S/{service['StateDirectory'][0]}"
    for name in ("HOME", "DATA_DIR", "MODELS_DIR", "TMPDIR"):
        assert environment[name].startswith(folder)


@pytest.mark.parametrize("name", SERVICES)
def test_the_container_may_do_no_more_than_the_server_s(name: str) -> None:
    ours, theirs = COMPOSE["services"][name], SERVER_COMPOSE["services"][name]
    for key in ("read_only", "tmpfs", "cap_drop", "security_opt", "restart", "logging", "volumes"):
        assert ours[key] == theirs[key]
    assert "privileged" not in ours
    assert ours["build"]["args"] == {**theirs["build"]["args"], "WITH_RAY": "1"}
    assert ours.get("deploy") == theirs.get("deploy")


@pytest.mark.parametrize("name", SERVICES)
def test_the_container_s_settings_exist(name: str) -> None:
    ours = {
        key for key in COMPOSE["services"][name]["environment"] if key == key.upper() and not key.startswith("RAY_")
    }
    assert {key.lower() for key in ours - {"TMPDIR"}} <= set(Settings.model_fields)
