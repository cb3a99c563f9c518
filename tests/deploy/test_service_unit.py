"""The unit of systemd: systemd itself finds nothing wrong with it, and little that it could still forbid."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

import pytest

from errors import DatabaseDamagedError, InvalidSettingsError
from tests.deploy.units import assert_exposes_at_most, assert_understood, needs_systemd
from tests.paths import ROOT

UNIT = ROOT / "deploy/whisper-scheduler.service"
PROGRAM = "/usr/local/lib/whisper-scheduler/.venv/bin/python"
MOST_EXPOSURE = 20  # tenths; systemd calls this OK. It was 17 with systemd 252.


@pytest.fixture
def installed_unit(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine."""
    text = UNIT.read_text()
    assert PROGRAM in text
    path = tmp_path / UNIT.name
    path.write_text(text.replace(PROGRAM, sys.executable))
    return path


def service_section() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser["Service"]


@needs_systemd
def test_systemd_understands_every_line(installed_unit: Path) -> None:
    assert_understood(installed_unit)


@needs_systemd
def test_little_is_left_that_the_service_may_do_beyond_its_work(installed_unit: Path) -> None:
    assert_exposes_at_most(MOST_EXPOSURE, installed_unit)


def test_what_no_restart_can_heal_is_not_restarted() -> None:
    service = service_section()
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"].split() == [
        str(InvalidSettingsError.exit_code),
        str(DatabaseDamagedError.exit_code),
    ]


def test_data_lies_in_the_folder_that_systemd_makes() -> None:
    """DATA_DIR and MODELS_DIR are relative by default, and in .env.sample."""
    service = service_section()
    assert service["WorkingDirectory"] == f"%S/{service['StateDirectory']}"
    assert service["UMask"] == "0077"
