"""What a test may not leave behind: threads and child processes of its own.

A process that outlives tests on purpose (a module's server, the browser) is registered by the fixture that starts it.
"""

from __future__ import annotations

import gc
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.resource_tracker import _resource_tracker
from pathlib import Path

import psutil

SETTLE_S = 10.0
SESSION_VARIABLE = "TEST_SESSION"

_outliving: set[psutil.Process] = set()
_lasting: set[psutil.Process] = set()
_KERNEL_TELLS = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists()


def mark_session() -> None:
    """Lets `processes_of_this_session` recognise every process that starts from here on, however it is orphaned."""
    os.environ[SESSION_VARIABLE] = uuid.uuid4().hex


@contextmanager
def outliving_tests(*processes: psutil.Process) -> Iterator[None]:
    """These processes, and whatever they start, may be alive when a test within the block ends."""
    _outliving.update(processes)
    try:
        yield
    finally:
        _outliving.difference_update(processes)


def lasting(process: psutil.Process) -> None:
    """It may be alive whenever a test ends, but not what it starts."""
    _lasting.add(process)


def children() -> set[psutil.Process]:
    """Child processes of this one, their own children and so on."""
    if not _KERNEL_TELLS:
        return set(psutil.Process().children(recursive=True))
    found = set()
    for pid in _descendants(os.getpid()):
        with suppress(psutil.NoSuchProcess):
            found.add(psutil.Process(pid))
    return found


@contextmanager
def nothing_left_behind(settle_s: float | None = None) -> Iterator[None]:
    """Fails when a thread or a child process that was started in the block is still alive settle_s (SETTLE_S) later.

    Sockets and files that are left open are found by the garbage collection here: their warnings are errors.
    """
    threads_before, children_before = set(threading.enumerate()), children()
    yield
    limit_s = SETTLE_S if settle_s is None else settle_s
    gc.collect()
    started = {thread for thread in threading.enumerate() if not thread.daemon} - threads_before
    for thread in started:
        thread.join(limit_s)
    assert [thread.name for thread in started if thread.is_alive()] == []
    new = [child for child in children() - children_before if not _may_outlive(child)]
    _, alive = psutil.wait_procs(new, timeout=limit_s)
    assert [described(child) for child in alive] == []


def orphans() -> list[psutil.Process]:
    """Processes that this session started and that are nobody's children any more."""
    own = os.environ[SESSION_VARIABLE]
    known = {psutil.Process(), *children()}
    return [process for process in psutil.process_iter() if process not in known and _session_of(process) == own]


def described(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())}"
    except psutil.Error:
        return str(process.pid)


def _may_outlive(child: psutil.Process) -> bool:
    """multiprocessing starts a tracker of its own, once, and ends it with the interpreter."""
    with suppress(psutil.NoSuchProcess):
        ancestry = {child, *child.parents()}
        return (
            child in _lasting
            or not _outliving.isdisjoint(ancestry)
            or child.pid == getattr(_resource_tracker, "_pid", None)
        )
    return True


def _descendants(pid: int) -> list[int]:
    """Asked of the kernel: psutil reads every process of the machine for it, twice at each of thousands of tests."""
    found: list[int] = []
    for thread in _threads_of(pid):
        try:
            those = [int(child) for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        for child in those:
            found += [child, *_descendants(child)]
    return found


def _threads_of(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _session_of(process: psutil.Process) -> str | None:
    with suppress(psutil.Error):
        return process.environ().get(SESSION_VARIABLE)
    return None
