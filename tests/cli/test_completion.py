"""`python main.py completion SHELL`"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from cli.program import run
from config import Settings
from tests.paths import ROOT

ASK = 'COMP_WORDS=({words}); COMP_CWORD={at}; _whisper_scheduler; echo "${{COMPREPLY[*]}}"'


def no_settings() -> Settings:
    raise AssertionError("not needed")


def serve_nothing() -> int:
    raise AssertionError("must not serve")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "begun", "wanted"),
    [
        ("", "tr", {"transcribe"}),
        ("transcribe --mode", "", {"exact", "vad"}),
        ("transcribe --model", "tin", {"tiny", "tiny.en", "tiny-int8", "tiny.en-int8"}),
        ("tasks", "re", {"retry"}),
        ("transcribe", "rec", {"file"}),
    ],
)
def test_a_shell_is_told_what_may_follow(
    shell: str,
    line: str,
    begun: str,
    wanted: set[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["whisper-scheduler", *line.split()]
    monkeypatch.setenv("COMP_WORDS", " ".join([*words, begun]))
    monkeypatch.setenv("COMP_CWORD", begun if shell == "fish" else str(len(words)))
    assert run(["completion", shell, "--answer"], serve=serve_nothing, load=no_settings) == 0
    told = capsys.readouterr().out.replace(",", "\n").replace("\t", "\n").splitlines()
    assert wanted <= set(told)
    assert "keys" not in told


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_runs_the_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [str(ROOT / "main.py")])
    assert run(["completion", "bash"], serve=serve_nothing, load=no_settings) == 0
    script = capsys.readouterr().out
    asked = ASK.format(words="whisper-scheduler tasks retr", at=2)
    done = subprocess.run(["bash", "-c", script + asked], cwd="/", capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("retry\n", "")


def test_the_help_names_lines_that_work_in_any_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell's own file is read in the home folder, where there is no main.py."""
    monkeypatch.setattr(sys, "argv", [str(ROOT / "main.py")])
    assert run(["completion", "--help"], serve=serve_nothing, load=no_settings) == 0
    assert f'eval "$({sys.executable} {ROOT / "main.py"} completion bash)"\n' in capsys.readouterr().out
