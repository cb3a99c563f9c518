"""Systems with a fake engine, in a thread or in a process of its own; everything under the test's own folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from optimizer.common.clock import Clock
from optimizer.devices.device import Device
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.status import DeviceStatus
from optimizer.devices.worker_process import WorkerConfig
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.batches import Batch
from optimizer.tasks.events import Event, TaskChanged, WindowFinished
from optimizer.tasks.task import Priority, Task, TaskOptions, TaskStatus
from tests.paths import MODELS_DIR

FAKE_ENGINE = "tests.fake_engine:FakeEngine"
PARALLEL_FAKE_ENGINE = "tests.fake_engine:ParallelFakeEngine"
WAIT_S = 60.0

ROOMY = DeviceSpec("cpu", "cpu", "roomy", 100 * 10**9)
HOLD = "endless window_s=0.02"  # runs until it is cancelled

Open = Callable[..., Any]
Submit = Callable[..., str]


def device_at(system: OptimizedWhisperSystem, index: int) -> Device:
    return list(system._scheduling.devices)[index]


def started_at(task: Task) -> datetime:
    assert task.started_at is not None
    return task.started_at


def statuses_of(system: OptimizedWhisperSystem) -> list[DeviceStatus]:
    return system._scheduling.devices.statuses()


class Watcher:
    """Remembers the system's events, and lets a test wait until the tasks have come as far as it needs."""

    def __init__(self, system: OptimizedWhisperSystem) -> None:
        self.system = system
        self.events: list[Event] = []
        self._changed = threading.Condition()
        system.add_listener(self._note)

    def _note(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_until(self, is_true: Callable[[], bool], what: str) -> None:
        """Looks again after every event, and now and then in between: not every change has one."""
        waited_s = 0.0
        while not is_true():
            assert waited_s < WAIT_S, f"waited in vain for {what}"
            with self._changed:
                self._changed.wait(0.05)
            waited_s += 0.05

    def wait_for_a_window(self, *task_ids: str) -> None:
        """Of each task."""
        self.wait_until(
            lambda: all(self.system.task(task_id).task.windows_done > 0 for task_id in task_ids), "a window of each"
        )

    def wait_for(self, task_id: str, *statuses: TaskStatus) -> Task:
        self.wait_until(
            lambda: self.system.task(task_id).task.status in statuses, f"{task_id} {[s.value for s in statuses]}"
        )
        return self.system.task(task_id).task

    def windows_of(self, task_id: str) -> list[WindowFinished]:
        """All of a completed task as listeners heard of them, and all of them before its end."""

        def is_told() -> bool:
            told = [each for each in self.events if isinstance(each, (TaskChanged, WindowFinished))]
            of_task = [each for each in told if each.task_id == task_id]
            return of_task[-1:] == [TaskChanged(task_id)] and any(
                isinstance(each, WindowFinished) and each.progress == 1.0 for each in of_task
            )

        self.wait_until(is_told, f"the last window of {task_id}, and then its end")
        return [each for each in self.events if isinstance(each, WindowFinished) and each.task_id == task_id]


def device_of(system: OptimizedWhisperSystem) -> dict[str, Any]:
    (device,) = system.status()["devices"]
    return device


def wait_running(watcher: Watcher, count: int) -> list[str]:
    watcher.wait_until(lambda: len(device_of(watcher.system)["running"]) == count, f"{count} running tasks")
    return device_of(watcher.system)["running"]


def cancel_all(watcher: Watcher, task_ids: list[str]) -> None:
    for task_id in task_ids:
        watcher.system.cancel(task_id)
    wait_running(watcher, 0)


@pytest.fixture
def open_system(make_settings: Callable[..., Settings]) -> Callable[..., Any]:
    """A started system as a context manager; stopped at the end whatever happens."""

    @contextmanager
    def opened(
        *,
        in_thread: bool = True,
        devices: list[DeviceSpec] | None = None,
        fake_engine: str = FAKE_ENGINE,
        clock: Clock | None = None,
        **values: Any,
    ) -> Iterator[OptimizedWhisperSystem]:
        settings = make_settings(**{"batch_schedule_interval": 0.5, "default_model": "tiny.en", **values})
        system = OptimizedWhisperSystem(
            settings,
            clock=clock,
            worker=WorkerConfig(fake_engine, cpu_threads=1, in_thread=in_thread),
            devices=devices,
        )
        if settings.models_dir.resolve() != MODELS_DIR.resolve():
            pretend_weights(settings.models_dir)
        system.start()
        try:
            yield system
        finally:
            system.stop()

    return opened


@pytest.fixture
def open_parallel(open_system: Open) -> Open:
    """As open_system, with ParallelFakeEngine and memory enough for everything."""
    return partial(open_system, fake_engine=PARALLEL_FAKE_ENGINE, devices=[ROOMY])


def pretend_weights(models_dir: Path) -> None:
    """The fake engine reads none, but tasks wait for models whose weights are not here."""
    assert models_dir.resolve() != MODELS_DIR.resolve(), "the real weights are there"
    models_dir.mkdir(parents=True, exist_ok=True)
    for name in ("tiny.en", "tiny", "base"):
        (models_dir / f"{name}.pt").write_bytes(b"not read by the fake engine")


@pytest.fixture
def submit() -> Callable[..., str]:
    """Upload a file of the test data and return the task's id."""

    def submit_file(
        system: OptimizedWhisperSystem,
        path: Path,
        *,
        model: str = "tiny.en",
        knobs: str = "",
        priority: Priority = Priority.NORMAL,
        device: str = "auto",
        key: str | None = None,
        owner: str = "",
        batch: Batch | None = None,
    ) -> str:
        upload = system.begin_upload()
        upload.write(path.read_bytes())
        options = TaskOptions(model=model, language="en", initial_prompt=knobs or None)
        submission = system.submit(
            upload,
            filename=path.name,
            options=options,
            priority=priority,
            device=device,
            idempotency_key=key,
            owner=owner,
            batch=batch,
        )
        return submission.task.task.id

    return submit_file
