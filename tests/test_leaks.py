"""The check that runs around every test finds what it has to find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.leaks import SETTLE_S, lasting, nothing_left_behind, orphans, outliving_tests
from tests.paths import ROOT

WAITS = "import sys; sys.stdin.read()"
STARTS_ANOTHER = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {WAITS!r}])
print("started", flush=True)
{WAITS}
"""
LEAVES_A_SERVER = f"""
import subprocess, sys
from tests import conftest, leaks

def test_that_starts_a_server():
    leaks.SETTLE_S = 0.1
    global server
    server = subprocess.Popen([sys.executable, "-c", {WAITS!r}, "main.py"], stdin=subprocess.PIPE)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python with some code. It ends with the fixture: its standard input is closed then."""
    with ExitStack() as running:

        def started(code: str, *arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", code, *arguments]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            return running.enter_context(process)

        yield started


def child_of(parent: subprocess.Popen[str]) -> psutil.Process:
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    (child,) = psutil.Process(parent.pid).children()
    return child


@pytest.mark.parametrize("name", ["main.py", "worker_main", "chromium"])
def test_a_process_left_behind_is_found_whatever_it_is_called(start: Start, name: str) -> None:
    with pytest.raises(AssertionError, match=name), nothing_left_behind(settle_s=0.05):
        start(WAITS, name)


def test_a_child_of_a_process_that_was_there_before_is_found(start: Start) -> None:
    with pytest.raises(AssertionError, match=re.escape(WAITS)), nothing_left_behind(settle_s=0.05):
        child_of(start(STARTS_ANOTHER))


def test_what_is_registered_may_stay_and_so_may_its_children(start: Start) -> None:
    with ExitStack() as registered, nothing_left_behind(settle_s=0.05):
        parent = start(STARTS_ANOTHER)
        registered.enter_context(outliving_tests(psutil.Process(parent.pid)))
        child_of(parent)


def last_and_start_another(start: Start) -> None:
    parent = start(STARTS_ANOTHER)
    lasting(psutil.Process(parent.pid))
    child_of(parent)


def test_of_what_lasts_the_children_are_found(start: Start) -> None:
    with pytest.raises(AssertionError, match=re.escape(WAITS)) as found, nothing_left_behind(settle_s=0.05):
        last_and_start_another(start)
    assert "started" not in str(found.value)  # which is in the command of the one that lasts


def test_what_was_there_before_may_stay(start: Start) -> None:
    start(WAITS)
    with nothing_left_behind(settle_s=0.05):
        pass


def test_a_thread_left_behind_is_found() -> None:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait, name="the one that stayed")
    with pytest.raises(AssertionError, match="the one that stayed"), nothing_left_behind(settle_s=0.05):
        thread.start()
    ended.set()
    thread.join()


def test_a_process_whose_parent_was_killed_is_found(start: Start) -> None:
    parent = start(STARTS_ANOTHER)
    child = child_of(parent)
    parent.kill()
    parent.wait()
    assert child in orphans()
    assert parent.stdin is not None
    parent.stdin.close()
    child.wait(SETTLE_S)
    assert child not in orphans()


def test_every_test_is_checked(tmp_path: Path) -> None:
    (tmp_path / "test_server.py").write_text(LEAVES_A_SERVER)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "test_server.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "1 passed, 1 error" in done.stdout
    assert "main.py" in done.stdout.split("short test summary")[0]
