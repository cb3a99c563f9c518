"""The command line as a whole; each command has a test module of its own."""

from __future__ import annotations

import pytest

from cli.program import run
from config import Settings
from errors import StartError
from version import __version__


def no_settings() -> Settings:
    raise AssertionError("not needed")


def serve_nothing() -> int:
    raise AssertionError("must not serve")


@pytest.mark.parametrize("arguments", [["anything"], ["serve", "now"], ["--prot", "80"]])
def test_unknown_arguments_are_refused_and_start_no_server(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments, serve=serve_nothing, load=no_settings) == 2
    assert "Error:" in capsys.readouterr().err


def test_serve_gives_the_servers_exit_code() -> None:
    assert run(["serve"], serve=lambda: 4, load=no_settings) == 4


def test_an_error_of_the_start_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise StartError("The data folder cannot be used.")

    assert run(["serve"], serve=fail, load=no_settings) == StartError.exit_code
    assert capsys.readouterr().err == "The data folder cannot be used.\n"


def test_the_version_and_the_help_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"], serve=serve_nothing, load=no_settings) == 0
    assert run(["--help"], serve=serve_nothing, load=no_settings) == 0
    shown = capsys.readouterr().out
    assert __version__ in shown
    assert "serve" in shown
