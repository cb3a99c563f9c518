"""A task whose model is not here waits for it, whatever the network does, and pays nothing for the wait."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from errors import EngineError, WeightsDamagedError
from optimizer.queue.backoff import MAX_RETRY_DELAY_S
from optimizer.scheduling.model_library import FIRST_PAUSE_S
from optimizer.tasks.task import TaskStatus
from optimizer.tasks.wait_reasons import WaitCode, WaitReason
from tests.fake_engine import FakeEngine
from tests.optimizer.fakes import FakeClock
from tests.paths import SHORT
from tests.system.conftest import Open, Submit, Watcher
from tests.whisper_core.models.weights_server import (
    CONTENT,
    QUICK,
    become_toy_tiny,
    cut,
    running_weights_server,
    stall,
    status,
)
from whisper_core.models import fetch as models
from whisper_core.models.catalogue import MODELS
from whisper_core.models.weight_files import is_intact, locate
from whisper_core.text.transcript import Transcript
from whisper_core.worker.messages import RunTask


class Source:
    """Where weights are fetched from, as the test says. addresses: of each fetch in turn, the last one for all later
    ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
        self._addresses = list(addresses)
        self._fetch = models.fetch
        monkeypatch.setattr(models, "fetch", self._fetch_from_here)

    def _fetch_from_here(self, *args: object, **options: object) -> object:
        address = self._addresses.pop(0) if len(self._addresses) > 1 else self._addresses[0]
        return partial(self._fetch, official_address=address, retry_policy=QUICK)(*args, **options)  # type: ignore[arg-type]


@contextmanager
def address_of_nobody() -> Iterator[str]:
    """A port that is taken, and at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def wait_for_a_failed_fetch(watcher: Watcher, task_id: str) -> WaitReason:
    """The reason that the task shows for it."""
    found: list[WaitReason] = []

    def is_told() -> bool:
        reason = watcher.system.task(task_id).waiting_reason
        if reason is None or "message" not in reason.data:
            return False
        found.append(reason)
        return True

    library = watcher.system._scheduling.models
    watcher.wait_until(lambda: library.model_view("tiny").failed_message is not None, "a fetch that failed")
    watcher.wait_until(is_told, "the reason")
    return found[-1]


@pytest.mark.proves("F25")
def test_tasks_wait_for_weights_through_every_fault_of_the_network(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """First there is no network; then the source fails, cuts the connection and falls silent before it delivers."""
    become_toy_tiny(tmp_path, monkeypatch)
    clock = FakeClock()
    with (
        running_weights_server() as server,
        address_of_nobody() as nowhere,
        open_system(clock=clock, model_sources="official") as system,
    ):
        Source(monkeypatch, nowhere, server.address)
        server.script = [status(500), cut, stall]
        watcher = Watcher(system)
        weights = system.settings.models_dir / "tiny.pt"
        weights.unlink()
        task_id = submit(system, SHORT, model="tiny")
        reason = wait_for_a_failed_fetch(watcher, task_id)
        assert reason.code is WaitCode.MODEL_MISSING
        assert "it cannot be reached" in reason.text
        assert f"Put tiny.pt from {MODELS['tiny'].url} into MODELS_DIR." in reason.text
        assert str(tmp_path) not in reason.text
        assert watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED).errors == ()
        assert (server.ranges, system.task(task_id).task.status) == ([], TaskStatus.PENDING)

        clock.advance(FIRST_PAUSE_S)
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED)
        assert (task.status, task.attempt, task.errors) == (TaskStatus.COMPLETED, 1, ())
        assert server.ranges == [None, None, "bytes=1000000-", "bytes=1500000-"]
        assert weights.read_bytes() == CONTENT
        assert not weights.with_name("tiny.pt.part").exists()


def test_a_source_that_keeps_failing_is_asked_less_and_less(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    become_toy_tiny(tmp_path, monkeypatch)
    clock = FakeClock()
    with running_weights_server() as server, open_system(clock=clock, model_sources="official") as system:
        Source(monkeypatch, server.address)
        server.script = [status(404)] * 3
        (system.settings.models_dir / "tiny.pt").unlink()
        watcher = Watcher(system)
        task_id = submit(system, SHORT, model="tiny")
        for asked, pause_s in enumerate((FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S), start=1):
            watcher.wait_until(lambda count=asked: len(server.ranges) == count, f"request {asked}")  # type: ignore[misc]
            wait_for_a_failed_fetch(watcher, task_id)
            clock.advance(pause_s - 1)
            watcher.wait_until(lambda: system._scheduler._last_iteration_at == clock.monotonic(), "a look at the queue")
            assert len(server.ranges) == asked
            clock.advance(1)
        assert watcher.wait_for(task_id, TaskStatus.COMPLETED).attempt == 1


@pytest.mark.proves("F24")
def test_a_damaged_file_of_weights_is_never_used_and_its_tasks_wait_for_the_right_one(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    become_toy_tiny(tmp_path, monkeypatch)
    clock, loaded, load, run = FakeClock(), [], FakeEngine.load, FakeEngine.run

    def load_intact(engine: FakeEngine, model: str, models_dir: Path) -> int:
        """As the real engines do."""
        located = locate(model, models_dir)
        if model == "tiny" and (located is None or not is_intact(located)):
            raise WeightsDamagedError()
        loaded.append(model)
        return load(engine, model, models_dir)

    def run_loaded(engine: FakeEngine, command: RunTask, *others: Any) -> Transcript | None:
        if command.model not in engine._resident:
            raise EngineError("The model is not loaded on this device.")
        return run(engine, command, *others)

    monkeypatch.setattr(FakeEngine, "load", load_intact)
    monkeypatch.setattr(FakeEngine, "run", run_loaded)
    damaged = bytearray(CONTENT)
    damaged[len(damaged) // 2] ^= 1
    with (
        running_weights_server() as server,
        open_system(clock=clock, model_sources="official", max_task_retries=0) as system,
    ):
        Source(monkeypatch, server.address)
        server.script = [status(404)]
        watcher = Watcher(system)
        weights = system.settings.models_dir / "tiny.pt"
        weights.write_bytes(damaged)
        task_id = submit(system, SHORT, model="tiny")
        task = watcher.wait_for(task_id, TaskStatus.RETRYING)
        assert (task.error.code if task.error else None, task.attempt - task.free_attempts) == ("weights_damaged", 0)
        assert watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED).errors == ()
        clock.advance(MAX_RETRY_DELAY_S)
        assert "damaged" in wait_for_a_failed_fetch(watcher, task_id).text
        assert (weights.read_bytes(), loaded) == (damaged, ["tiny.en"])

        clock.advance(FIRST_PAUSE_S)
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED)
        assert (task.status, task.attempt - task.free_attempts) == (TaskStatus.COMPLETED, 1)
        assert (weights.read_bytes(), loaded) == (CONTENT, ["tiny.en", "tiny"])
