"""The scheduler at work on real queues and workers: order, shares, stepping aside, devices, idle models."""

from __future__ import annotations

import wave
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import pytest

from optimizer.devices.discovery import DeviceSpec
from optimizer.memory.estimator import MemoryEstimationPool
from optimizer.planning.plan import PlanLimits
from optimizer.queue.ordering import DueTimes
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.task import Priority, TaskStatus
from tests.optimizer.memory.helpers import total_bytes
from tests.paths import MINUTE, SHORT
from tests.system.conftest import (
    HOLD,
    PARALLEL_FAKE_ENGINE,
    ROOMY,
    Open,
    Submit,
    Watcher,
    cancel_all,
    device_of,
    started_at,
    wait_running,
)


@pytest.fixture
def open_one_place(open_system: Open) -> Open:
    """One task at a time, so that the order shows."""
    return partial(
        open_system, fake_engine=PARALLEL_FAKE_ENGINE, devices=[ROOMY], max_concurrent_tasks_limit=1, max_batch_size=1
    )


def decisions(system: OptimizedWhisperSystem) -> list[dict[str, Any]]:
    """Oldest first."""
    return [event.data for event in reversed(system.events(kind="decision", limit=500))]


def order_of_starts(system: OptimizedWhisperSystem) -> list[str]:
    return [data["task_id"] for data in decisions(system) if "waited_seconds" in data]


def test_the_short_one_passes_the_long_one_and_says_so(open_one_place: Open, submit: Submit) -> None:
    with open_one_place() as system:
        watcher = Watcher(system)
        holder = submit(system, SHORT, knobs=HOLD)
        wait_running(watcher, 1)
        long, short = submit(system, MINUTE), submit(system, SHORT)
        assert [system.task(each).position for each in (short, long)] == [1, 2]
        system.cancel(holder)
        for each in (long, short):
            watcher.wait_for(each, TaskStatus.COMPLETED)
        assert order_of_starts(system) == [holder, short, long]
        told = next(data for data in decisions(system) if data["task_id"] == short)
        assert (told["why"], told["passed"]) == ("shortest", 1)


def test_an_owners_many_files_do_not_block_anothers_one(open_one_place: Open, submit: Submit) -> None:
    with open_one_place() as system:
        watcher = Watcher(system)
        holder = submit(system, SHORT, knobs=HOLD, owner="a")
        wait_running(watcher, 1)
        many = [submit(system, SHORT, owner="a") for _ in range(6)]
        one = submit(system, SHORT, owner="b")
        system.cancel(holder)
        for each in (*many, one):
            watcher.wait_for(each, TaskStatus.COMPLETED)
        assert order_of_starts(system)[:3] == [holder, one, many[0]]


def test_a_long_task_steps_aside_for_an_urgent_one_and_loses_nothing(
    open_one_place: Open, submit: Submit, tmp_path: Path
) -> None:
    with open_one_place() as system:
        watcher = Watcher(system)
        long = submit(system, silence(tmp_path, seconds=720), knobs="window_s=2")  # 48 s of work
        watcher.wait_until(lambda: system.task(long).task.windows_done > 0, "a window")
        urgent = submit(system, SHORT, priority=Priority.HIGH)
        watcher.wait_for(urgent, TaskStatus.COMPLETED)
        windows = system.task(long).task.windows_done
        assert windows >= 1
        watcher.wait_for(long, TaskStatus.PROCESSING)
        task = system.task(long).task
        assert (task.attempt, task.free_attempts, task.interrupts) == (2, 1, 0)
        assert task.windows_done >= windows
        assert {data["why"] for data in decisions(system) if data["task_id"] == long} >= {"steps_aside"}
        codes = [event.code for event in system.timeline(long)]
        assert codes[-3:] == ["started", "gave_way", "started"]
        cancel_all(watcher, [long])


def test_a_recording_of_nine_minutes_steps_aside_for_a_short_one_on_a_fast_machine(
    open_one_place: Open, submit: Submit, tmp_path: Path
) -> None:
    with open_one_place() as system:
        watcher = Watcher(system)
        long = submit(system, silence(tmp_path, seconds=540), knobs="window_s=0.4")  # 7 s of work
        watcher.wait_for_a_window(long)
        short = submit(system, SHORT)
        watcher.wait_for(short, TaskStatus.COMPLETED)
        assert order_of_starts(system)[:2] == [long, short]
        assert "gave_way" in [event.code for event in system.timeline(long)]
        cancel_all(watcher, [long])


def test_two_workers_share_the_tasks(open_system: Open, submit: Submit) -> None:
    devices = [DeviceSpec(name, "cpu", name, 100 * 10**9) for name in ("cpu", "cpu:1")]
    with open_system(
        fake_engine=PARALLEL_FAKE_ENGINE, devices=devices, in_thread=False, max_concurrent_tasks_limit="auto"
    ) as system:
        watcher = Watcher(system)
        watcher.wait_until(lambda: all(each["state"] == "ready" for each in system.status()["devices"]), "both workers")
        models = ("tiny.en", "base")
        held = [submit(system, SHORT, knobs=HOLD, model=models[number % 2]) for number in range(12)]
        watcher.wait_until(
            lambda: sum(len(each["running"]) for each in system.status()["devices"]) == 12, "all running"
        )
        running = [len(each["running"]) for each in system.status()["devices"]]
        assert min(running) >= 4
        for each in held:
            system.cancel(each)
        watcher.wait_until(lambda: not any(each["running"] for each in system.status()["devices"]), "nothing running")


def test_an_idle_model_leaves_after_its_time(open_system: Open, submit: Submit) -> None:
    with open_system(fake_engine=PARALLEL_FAKE_ENGINE, devices=[ROOMY], model_idle_timeout=0.3) as system:
        watcher = Watcher(system)
        watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
        watcher.wait_until(lambda: device_of(system)["resident_models"] == [], "the model to leave")
        assert any("idle_seconds" in event.data for event in system.events(kind="model"))
        watcher.wait_for(submit(system, SHORT), TaskStatus.COMPLETED)  # and comes back


def test_what_a_waiting_task_was_promised_is_held_against_what_came(open_one_place: Open, submit: Submit) -> None:
    with open_one_place() as system:
        watcher = Watcher(system)
        watcher.wait_for(submit(system, MINUTE, knobs="window_s=0.1"), TaskStatus.COMPLETED)
        ids = [submit(system, MINUTE, knobs="window_s=0.5") for _ in range(3)]
        second, third = (system.task(each).expected for each in ids[1:])
        assert second is not None
        assert third is not None
        assert second.start < second.end < third.end
        for each in ids:
            watcher.wait_for(each, TaskStatus.COMPLETED)
        watcher.wait_until(lambda: system.status()["forecasts"]["count"] >= 3, "the outcome of the promises")


def test_a_high_priority_task_goes_before_those_that_wait(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        holder = submit(system, MINUTE, knobs=HOLD)
        watcher.wait_for(holder, TaskStatus.PROCESSING)
        normal = submit(system, SHORT)
        urgent = submit(system, SHORT, priority=Priority.HIGH)
        assert system.task(urgent).position == 1
        system.cancel(holder)
        started = [started_at(watcher.wait_for(task_id, TaskStatus.COMPLETED)) for task_id in (urgent, normal)]
        assert started == sorted(started)


def test_a_starving_task_gets_its_turn_although_another_model_must_go_first(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models do not fit at once, and small tasks of the loaded one never end."""
    monkeypatch.setattr(PlanLimits, "__init__", partialmethod(PlanLimits.__init__, starvation_s=0.0))
    monkeypatch.setattr("optimizer.wiring.DueTimes", partial(DueTimes, max_patience_s=0.0))  # due when it comes
    one_task_of_base = total_bytes(MemoryEstimationPool(1.2), "base", "cpu", 3.0)
    card = DeviceSpec("cpu", "cpu", "small", one_task_of_base + 50_000_000)  # tiny.en takes more than that
    with open_system(devices=[card]) as system:
        watcher = Watcher(system)
        first = submit(system, SHORT, knobs="window_s=0.3")
        starving = submit(system, SHORT, model="base")
        others = [submit(system, SHORT, knobs="window_s=0.1") for _ in range(6)]
        tasks = [watcher.wait_for(task_id, TaskStatus.COMPLETED) for task_id in (first, starving, *others)]
        started = sorted(tasks, key=started_at)
        assert starving in [task.id for task in started[:3]]


def silence(folder: Path, seconds: int) -> Path:
    file = folder / "silence.wav"
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(2 * 16_000 * seconds))
    return file
