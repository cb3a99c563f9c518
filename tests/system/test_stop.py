"""A stop gives running tasks back, waits for nothing silent, and the next start goes on."""

from __future__ import annotations

import threading

import pytest

from optimizer.scheduling import model_library
from optimizer.scheduling.model_library import ModelLibrary
from optimizer.tasks.task import TaskStatus
from tests.paths import MINUTE, SHORT
from tests.system.conftest import HOLD, Open, Submit, Watcher
from whisper_core.models import fetch as models


def test_a_stop_gives_running_tasks_back_and_the_next_start_completes_them(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        task_id = submit(system, MINUTE, knobs="hold@1 once")
        waiting = submit(system, SHORT)
        Watcher(system).wait_for_a_window(task_id)
    with open_system() as system:
        watcher = Watcher(system)
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert [segment.id for segment in system.transcript(task_id)[0].segments] == [0, 1, 2]
        assert task.errors == ()
        assert watcher.wait_for(waiting, TaskStatus.COMPLETED).attempt == 1


def test_running_tasks_are_given_back_before_a_silent_fetch_is_waited_for(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(models, "fetch", lambda *_, **__: is_over.wait(60))
    monkeypatch.setattr(model_library, "STOP_GRACE_S", 0.5)
    states: list[TaskStatus] = []
    stop = ModelLibrary.stop
    with open_system() as system:
        task_id = submit(system, MINUTE, knobs=HOLD)
        Watcher(system).wait_for(task_id, TaskStatus.PROCESSING)
        system.fetch_model("large-v3")

        def remembering_stop(library: ModelLibrary) -> None:
            states.append(system.task(task_id).task.status)
            stop(library)

        monkeypatch.setattr(ModelLibrary, "stop", remembering_stop)
    is_over.set()
    assert states == [TaskStatus.PENDING]
