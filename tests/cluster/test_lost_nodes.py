"""Nodes that are lost in mid-task: what they had goes on elsewhere behind its last window, and is recorded once."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path

import psutil
import pytest

from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.task import Task, TaskStatus
from tests.cluster.conftest import OpenClustered, StartCluster, wait_for_devices
from tests.cluster.rig import PATIENCE_S
from tests.paths import MINUTE
from tests.system.conftest import Submit, Watcher
from whisper_core.text.transcript import Transcript

KILLS = 10
WINDOWS = 3


def charged(task: Task) -> int:
    return task.attempt - task.free_attempts


def running_on(system: OptimizedWhisperSystem, *devices: str) -> list[Task]:
    """Tasks that have finished a window there and are not at their end."""
    running = [
        each.task.id
        for device in system._scheduling.devices
        if device.spec.name in devices
        for each in device.running.copy().values()
    ]
    tasks = [system.task(task_id).task for task_id in running]
    return [task for task in tasks if 0 < task.windows_done < WINDOWS and task.device in devices]


def wait_for_end_of_attempt(watcher: Watcher, task: Task) -> None:
    watcher.wait_until(lambda: watcher.system.task(task.id).task.lease_token != task.lease_token, "its end")


def wait_for_end_of_device(watcher: Watcher, device: str) -> None:
    watcher.wait_until(lambda: device not in watcher.system.device_names(), f"the end of {device}")


def text_of(transcript: Transcript) -> list[str]:
    return [segment.text for segment in transcript.segments]


def assert_recorded_once(watcher: Watcher, ids: list[str], text: list[str], data_dir: Path) -> None:
    for task_id in ids:
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED, TaskStatus.FAILED)
        assert (task.status, charged(task), task.windows_done) == (TaskStatus.COMPLETED, 1, WINDOWS), task
        assert [window.seq for window in watcher.windows_of(task_id)] == [1, 2, 3]
        assert text_of(watcher.system.transcript(task_id)[0]) == text
    kept = sorted(path.name for path in (data_dir / "transcripts").iterdir())
    assert set(kept) >= {f"{task_id}.json" for task_id in ids}
    assert len(kept) == sum(watcher.system._queue.counts().values())


@pytest.mark.proves("F39")
def test_ten_lost_nodes_in_mid_task_lose_and_double_nothing(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, tmp_path: Path
) -> None:
    choice = random.Random(39)
    cluster = start_cluster("one", "two")
    with open_clustered(cluster, max_task_retries=0, max_concurrent_tasks_limit=3) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "cpu", "one-cpu", "two-cpu")
        undisturbed = watcher.wait_for(submit(system, MINUTE, device="cpu"), TaskStatus.COMPLETED)
        text = text_of(system.transcript(undisturbed.id)[0])
        ids: list[str] = []
        hit: list[str] = []
        for kill in range(KILLS):
            go = tmp_path / f"go-{kill}"
            held = [submit(system, MINUTE, knobs=f"hold@1={go}") for _ in range(3)]  # one on each device, in its middle
            ids += [*held, *(submit(system, MINUTE) for _ in range(3))]
            watcher.wait_for_a_window(*held)
            tasks = {task.device: task for task in (system.task(task_id).task for task_id in held)}
            assert set(tasks) == {"cpu", "one-cpu", "two-cpu"}
            node = choice.choice(["one", "two"])
            cluster.kill(node)
            hit.append(tasks[f"{node}-cpu"].id)
            wait_for_end_of_attempt(watcher, tasks[f"{node}-cpu"])
            go.touch()
            cluster.add(node)
            wait_for_devices(watcher, f"{node}-cpu")
        assert_recorded_once(watcher, ids, text, tmp_path / "data")
        assert [system.task(task_id).task.attempt for task_id in hit] == [2] * KILLS


def test_all_nodes_are_restarted_one_after_the_other_under_load(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, tmp_path: Path
) -> None:
    cluster = start_cluster("one", "two")
    with open_clustered(cluster, max_task_retries=0) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "cpu", "one-cpu", "two-cpu")
        undisturbed = watcher.wait_for(submit(system, MINUTE, device="cpu"), TaskStatus.COMPLETED)
        text = text_of(system.transcript(undisturbed.id)[0])
        ids: list[str] = []
        for node in ("one", "two"):
            go = tmp_path / f"go-{node}"
            ids += [submit(system, MINUTE, knobs=f"hold@1={go}") for _ in range(15)]
            watcher.wait_until(lambda name=f"{node}-cpu": running_on(system, name) != [], "a task there")  # type: ignore[misc]
            cluster.remove(node)
            wait_for_end_of_device(watcher, f"{node}-cpu")
            go.touch()
            cluster.add(node)
            wait_for_devices(watcher, f"{node}-cpu")
        assert_recorded_once(watcher, ids, text, tmp_path / "data")


def test_a_node_that_hangs_and_wakes_up_late_changes_nothing_any_more(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, tmp_path: Path
) -> None:
    """Its task is done elsewhere by then, and what it still says is of an attempt that is over."""
    cluster = start_cluster("one", "two")
    with open_clustered(cluster, devices=[], max_task_retries=0) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "one-cpu", "two-cpu")
        undisturbed = watcher.wait_for(submit(system, MINUTE), TaskStatus.COMPLETED)
        text = text_of(system.transcript(undisturbed.id)[0])
        task_id = submit(system, MINUTE, knobs="hold@1 once")
        watcher.wait_for_a_window(task_id)
        node = (system.task(task_id).task.device or "").removesuffix("-cpu")
        frozen = cluster.freeze(node)
        wait_for_end_of_device(watcher, f"{node}-cpu")
        assert_recorded_once(watcher, [task_id], text, tmp_path / "data")
        for process in frozen:
            process.resume()
        _, alive = psutil.wait_procs(frozen, timeout=PATIENCE_S)  # Ray ends a node that was given up
        assert alive == []
        assert_recorded_once(watcher, [task_id], text, tmp_path / "data")
        assert system.device_names() == ["one-cpu" if node == "two" else "two-cpu"]


def test_a_killed_bridge_costs_no_attempt_and_its_devices_are_back(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, tmp_path: Path
) -> None:
    cluster = start_cluster("one")
    with open_clustered(cluster, devices=[], max_task_retries=0) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "one-cpu")
        undisturbed = watcher.wait_for(submit(system, MINUTE), TaskStatus.COMPLETED)
        task_id = submit(system, MINUTE, knobs="hold@1 once")
        watcher.wait_for_a_window(task_id)
        (bridge,) = [each for each in multiprocessing.active_children() if each.name == "cluster-bridge"]
        bridge.kill()
        assert_recorded_once(watcher, [task_id], text_of(system.transcript(undisturbed.id)[0]), tmp_path / "data")
        assert system.task(task_id).task.attempt == 2


def test_two_servers_use_one_cluster_side_by_side(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, tmp_path: Path
) -> None:
    """Each for itself: to one, what the other one has in a node's memory belongs to another program."""
    cluster = start_cluster("one")
    with (
        open_clustered(cluster, devices=[]) as first,
        open_clustered(cluster, devices=[], data_dir=tmp_path / "other") as second,
    ):
        watchers = [Watcher(first), Watcher(second)]
        for watcher in watchers:
            wait_for_devices(watcher, "one-cpu")
        ids = [submit(watcher.system, MINUTE, knobs="hold@1 once") for watcher in watchers]
        for watcher, task_id in zip(watchers, ids, strict=True):
            watcher.wait_for_a_window(task_id)
        assert len(list((tmp_path / "nodes").rglob("*.pcm"))) == 2
        first.stop()
        assert second.task(ids[1]).task.status is TaskStatus.PROCESSING
        assert len(list((tmp_path / "nodes").rglob("*.pcm"))) >= 1
        second.cancel(ids[1])
        watchers[1].wait_for(submit(second, MINUTE), TaskStatus.COMPLETED)
