"""What a whole system tells of itself: timelines, decisions, samples, and what is still known after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from errors import TaskNotFoundError
from optimizer.tasks.task import Priority, TaskStatus
from tests.paths import MINUTE, SHORT
from tests.system.conftest import PARALLEL_FAKE_ENGINE, Open, Submit, Watcher


def codes(system: Any, task_id: str) -> list[str]:
    return [event.code for event in system.timeline(task_id)]


def test_a_tasks_timeline_tells_its_life_and_goes_with_it(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT)
        watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert codes(system, task_id) == ["uploaded", "decoded", "started", "completed"]
        started, completed = system.timeline(task_id)[2:]
        assert (started.data["device"], started.data["model"], started.data["attempt"]) == ("cpu", "tiny.en", 1)
        assert completed.data["seconds"] >= 0
        system.delete(task_id)
        with pytest.raises(TaskNotFoundError):
            system.timeline(task_id)


def test_a_decision_is_told_and_survives_the_restart(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT, priority=Priority.HIGH)
        watcher.wait_for(task_id, TaskStatus.COMPLETED)
        (decision,) = system.events("decision")
        assert (decision.data["task_id"], decision.data["priority"]) == (task_id, "high")
    with open_system() as system:
        assert [event for event in system.events("decision") if event.data.get("task_id") == task_id] == [decision]
        assert system.events("tuning") == []


def test_devices_and_models_are_in_the_journal(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        Watcher(system).wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        assert [event.data["state"] for event in system.events("device")] == ["ready"]
        (loaded,) = system.events("model")
        assert (loaded.data["model"], loaded.data["device"], loaded.data["state"]) == ("tiny.en", "cpu", "loaded")


def test_the_end_of_a_worker_is_in_the_journal_and_in_the_timeline(open_system: Open, submit: Submit) -> None:
    with open_system(in_thread=False) as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE, knobs="abort@1 once")
        watcher.wait_for(task_id, TaskStatus.COMPLETED)
        states = [event.data["state"] for event in reversed(system.events("device"))]
        assert states == ["ready", "exited", "ready"]
        (interrupted,) = [event for event in system.timeline(task_id) if event.code == "interrupted"]
        assert interrupted.data["code"] == "worker_died"


def test_samples_and_measured_speeds_are_kept_over_a_restart(open_system: Open, submit: Submit) -> None:
    with open_system(performance_monitor_interval=1) as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE, knobs="window_s=0.05")  # long enough for its speed to be measured
        watcher.wait_for(task_id, TaskStatus.COMPLETED)
        watcher.wait_until(
            lambda: any(sample["completed"] for sample in system.history(1)["samples"]), "a sample with the task"
        )
        samples = system.history(1)["samples"]
        speed = system._scheduling.speeds.speed("tiny.en", "cpu")
        done = sum(sample["throughput"] * sample["span_seconds"] for sample in samples)
        assert done == pytest.approx(67.58, abs=0.1)
        assert [sum(sample[name] for sample in samples) for name in ("started", "completed", "failed")] == [1, 1, 0]
        assert set(samples[-1]["devices"]) == {"cpu"}
    with open_system() as system:
        assert system.history(1)["samples"][: len(samples)] == samples
        assert system._scheduling.speeds.speed("tiny.en", "cpu") == pytest.approx(speed, rel=0.01)


def test_a_change_by_hand_is_told_and_marks_the_plots(open_system: Open) -> None:
    with open_system() as system:
        system.set_limits(max_concurrent_tasks=3)
        (change,) = system.history(1)["changes"]
        assert change["data"]["setting"] == "max_concurrent_tasks"
        assert (change["data"]["before"], change["data"]["after"], change["data"]["step"]) == (8, 3, "by_hand")
        report = system.status()
        assert report["adaptive"]["max_concurrent_tasks"] == 3
        assert report["adaptive"]["last_change"]["text"] == change["text"]


def test_nothing_is_tuned_where_it_is_switched_off(open_system: Open) -> None:
    with open_system(enable_adaptive_optimization=False) as system:
        assert system.set_limits(max_concurrent_tasks=3)["adaptive"]["enabled"] is False
    with open_system(enable_optimization_system=False) as system:
        assert system.status()["adaptive"]["enabled"] is False


def test_a_device_says_which_tasks_and_models_it_has(open_system: Open, submit: Submit) -> None:
    with open_system(fake_engine=PARALLEL_FAKE_ENGINE) as system:
        watcher = Watcher(system)
        task_id = submit(system, MINUTE, knobs="endless window_s=0.05")
        watcher.wait_until(lambda: bool(system.status()["devices"][0]["tasks"]), "a running task")
        device = system.status()["devices"][0]
        (task,) = device["tasks"]
        assert (task["id"], task["filename"], task["model"]) == (task_id, MINUTE.name, "tiny.en")
        assert task["reserved_bytes"] > 0
        assert [(model["name"], model["is_used"]) for model in device["models"]] == [("tiny.en", True)]
        system.cancel(task_id)
