"""Log lines: one for each event, whatever the message contains and wherever the log goes."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from logs import DescriptorHandler, configure_logging
from tests.paths import ROOT
from tests.web.running_server import RunningServer


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(end to read, end to write)"""
    reading, writing = os.pipe()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield reading, writing
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            continue


def logged(pipe: tuple[int, int]) -> list[str]:
    os.close(pipe[1])
    with os.fdopen(os.dup(pipe[0]), "rb") as output:
        return output.read().decode().splitlines()


def test_line_has_time_level_and_message(pipe: tuple[int, int]) -> None:
    configure_logging("INFO", pipe[1])
    logging.getLogger("x").info("task=%s state=%s", "01J", "pending")
    logging.getLogger("x").debug("not this")
    (line,) = logged(pipe)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[INFO\] task=01J state=pending", line)


@pytest.mark.parametrize("text", ["a\nERROR fake", "a\r\x1b[2Jb", "a\u2028b", "a\u202eb", "\udcff"], ids=ascii)
def test_text_from_outside_stays_on_its_line(pipe: tuple[int, int], text: str) -> None:
    configure_logging("INFO", pipe[1])
    logging.getLogger("x").info("name=%s", text)
    (line,) = logged(pipe)
    assert line.isprintable()


def test_traceback_cannot_be_taken_for_lines_of_ours(pipe: tuple[int, int]) -> None:
    configure_logging("INFO", pipe[1])
    try:
        raise ValueError("first\n2026-11-24 12:00:00,000 [INFO] forged")
    except ValueError:
        logging.getLogger("x").exception("event=failed")
    first, *rest = logged(pipe)
    assert first.endswith("[ERROR] event=failed")
    assert all(line.startswith("  | ") for line in rest)


def test_configuring_again_does_not_double_the_lines(pipe: tuple[int, int]) -> None:
    configure_logging("INFO", pipe[1])
    configure_logging("INFO", pipe[1])
    logging.getLogger("x").info("once")
    assert len(logged(pipe)) == 1


def test_a_closed_output_disturbs_nothing(pipe: tuple[int, int], capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", pipe[1])
    os.close(pipe[0])
    logging.getLogger("x").info("into a closed pipe")
    os.close(pipe[1])
    logging.getLogger("x").info("into a closed descriptor")
    assert capfd.readouterr() == ("", "")  # where logging tells of a handler that fails


def test_message_whose_arguments_do_not_fit_is_still_one_line(pipe: tuple[int, int]) -> None:
    configure_logging("INFO", pipe[1])
    (handler,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, DescriptorHandler)]
    handler.handle(logging.makeLogRecord({"msg": "%d %d", "args": (1,)}))
    (line,) = logged(pipe)
    assert "%d %d" in line


def test_as_json_an_event_is_one_object_whose_fields_only_the_code_names(pipe: tuple[int, int]) -> None:
    configure_logging("INFO", pipe[1], log_format="json")
    name = "a\nevent=forged level=INFO\x1b[2J\udcff"
    logging.getLogger("x").warning("event=kept task=%s seconds=%.1f name=%s%%: because %s", "01J", 2.25, name, "k=v")
    logging.getLogger("x").info("100% done=yes")
    text, other = logged(pipe)
    assert text.isprintable()
    line = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    shown = r"a\nevent=forged level=INFO\x1b[2J\udcff%"
    assert line == {
        "level": "WARNING",
        "logger": "x",
        "event": "kept",
        "message": f"event=kept task=01J seconds=2.2 name={shown}: because k=v",
        "fields": {"task": "01J", "seconds": 2.25, "name": shown},
    }
    assert json.loads(other)["fields"] == {"done": "yes"}


def test_as_json_a_traceback_stays_on_the_line_of_its_event(pipe: tuple[int, int]) -> None:
    configure_logging("INFO", pipe[1], log_format="json")
    try:
        raise ValueError("first\x1b\n{forged}")
    except ValueError:
        logging.getLogger("x").exception("event=failed")
    (line,) = map(json.loads, logged(pipe))
    assert (line["level"], line["event"]) == ("ERROR", "failed")
    assert line["exception"].splitlines()[-2:] == [r"ValueError: first\x1b", "{forged}"]


def test_as_json_also_a_message_whose_arguments_do_not_fit_is_an_object(pipe: tuple[int, int]) -> None:
    configure_logging("INFO", pipe[1], log_format="json")
    (handler,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, DescriptorHandler)]
    handler.handle(logging.makeLogRecord({"msg": "%d %d", "args": (1,)}))
    (line,) = map(json.loads, logged(pipe))
    assert line["message"] == "unformattable log message '%d %d'"


@pytest.mark.slow
def test_a_server_can_log_nothing_but_json(tmp_path: Path) -> None:
    with RunningServer(tmp_path, env={"LOG_FORMAT": "json"}) as server:
        pass
    messages = [json.loads(line)["message"] for line in server.lines]
    assert f"listening on {server.address}" in messages


def test_closed_standard_output_does_not_put_lines_into_the_next_file(tmp_path: Path) -> None:
    """A server started with its output closed would otherwise write its log into its own database."""
    code = (
        "import logging, sys, logs; logs.configure_logging('INFO'); file = open(sys.argv[1], 'w');"
        "logging.getLogger('x').info('a line'); sys.exit(file.fileno() < 3)"
    )
    target = tmp_path / "tasks.db"
    command = f'exec {shlex.quote(sys.executable)} -c "$0" "$1" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", command, code, str(target)], cwd=ROOT, timeout=30, check=False)
    assert (done.returncode, target.read_bytes()) == (0, b"")
