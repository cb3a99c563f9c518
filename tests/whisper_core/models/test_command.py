"""`python -m whisper_core.models`, the command that fetches weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.whisper_core.models.weights_server import CONTENT
from whisper_core.models import __main__ as fetch_command

pytestmark = pytest.mark.usefixtures("toy_tiny")


def test_the_command_ends_with_0_and_1(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(CONTENT)
    where = ["--models-dir", str(folder), "--sources", "local"]

    assert fetch_command.main(["fetch", "tiny", *where]) == 0
    assert "tiny: the weights are there." in capsys.readouterr().err
    assert fetch_command.main(["fetch", "tiny-int8", *where]) == 0
    assert "tiny-int8: the weights are there." in capsys.readouterr().err
    assert fetch_command.main(["fetch", "base-int8", *where]) == 1
    assert "Put base.pt from https://" in capsys.readouterr().err


def test_the_module_is_a_command() -> None:
    command = [sys.executable, "-m", "whisper_core.models", "fetch", "--help"]
    assert "tiny.en" in subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
