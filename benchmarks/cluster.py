"""What a window costs on another machine beside this one's, and how much more gets done with more nodes.

All nodes are this machine, played by Ray, and the engine is one whose windows take a given time: it is the way there
and back that is measured. `python -m benchmarks.cluster` prints two tables; those of docs/cluster.md come from it. It
fails when several nodes get less done than they should.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from config import Settings
from optimizer.devices.discovery import DeviceSpec
from optimizer.devices.worker_process import WorkerConfig
from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.task import Priority, TaskOptions, TaskStatus
from tests.cluster.rig import TOKEN, RayCluster, ray_cluster

FAKE_ENGINE = "tests.fake_engine:FakeEngine"
WINDOW_SECONDS = 30.0
WINDOW_S = 1.0  # what a window takes in the second table
TASK_WINDOWS = 3
TASKS_OF_A_NODE = 10
LONG_WINDOWS = 200
REPEATS = 5
LEAST_SHARE = 0.9  # of what so many nodes would do if none cost another anything
HERE = DeviceSpec("cpu", "cpu", "this machine", 10**10)


@contextmanager
def system_of(cluster: RayCluster, folder: Path, devices: list[DeviceSpec]) -> Iterator[OptimizedWhisperSystem]:
    """devices: of this machine."""
    settings = Settings(
        _env_file=None,
        data_dir=folder / "data",
        models_dir=folder / "models",
        default_model="tiny.en",
        executor="ray",
        ray_address=cluster.address,
        ray_auth_mode="token",
        ray_auth_token=TOKEN,
        max_concurrent_tasks_limit="auto",
        log_level="WARNING",
    )
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    (settings.models_dir / "tiny.en.pt").write_bytes(b"not read by the fake engine")
    system = OptimizedWhisperSystem(settings, worker=WorkerConfig(FAKE_ENGINE, cpu_threads=1), devices=devices)
    system.start()
    try:
        yield system
    finally:
        system.stop()


def wait_for_devices(system: OptimizedWhisperSystem, count: int) -> None:
    wait_until(lambda: sum(device["state"] == "ready" for device in system.status()["devices"]) == count)


def wait_until(is_true: Callable[[], bool], limit_s: float = 300.0) -> None:
    until = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.005)


def submit(system: OptimizedWhisperSystem, recording: Path, device: str, knobs: str) -> str:
    upload = system.begin_upload()
    upload.write(recording.read_bytes())
    options = TaskOptions(model="tiny.en", language="en", initial_prompt=knobs or None)
    submission = system.submit(
        upload, filename=recording.name, options=options, priority=Priority.NORMAL, device=device, idempotency_key=None
    )
    return submission.task.task.id


def is_completed(system: OptimizedWhisperSystem, task_id: str) -> bool:
    return system.task(task_id).task.status is TaskStatus.COMPLETED


def silence(path: Path, windows: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(int(windows * WINDOW_SECONDS * 32000)))
    return path


def processing_s(system: OptimizedWhisperSystem, recording: Path, device: str) -> float:
    """From its start to its end, of a task whose windows take no time."""
    task_id = submit(system, recording, device, "")
    wait_until(lambda: is_completed(system, task_id))
    task = system.task(task_id).task
    assert task.started_at is not None
    assert task.finished_at is not None
    return (task.finished_at - task.started_at).total_seconds()


def costs(folder: Path) -> None:
    short, long = silence(folder / "short.wav", 1), silence(folder / "long.wav", LONG_WINDOWS)
    with ray_cluster(folder, "one") as cluster, system_of(cluster, folder, [HERE]) as system:
        wait_for_devices(system, 2)
        print("| | this machine | a node |\n|---|---|---|")
        rows = {}
        for device in ("cpu", "one-cpu"):
            processing_s(system, short, device)
            one = median(processing_s(system, short, device) for _ in range(REPEATS))
            many = median(processing_s(system, long, device) for _ in range(REPEATS))
            rows[device] = one, (many - one) / (LONG_WINDOWS - 1), many
        for index, (name, factor, unit) in enumerate(
            [
                ("a task of one window", 1000, "ms"),
                ("each further window", 1000, "ms"),
                ("a task of 100 minutes", 1, "s"),
            ]
        ):
            here, there = (rows[device][index] * factor for device in ("cpu", "one-cpu"))
            print(f"| {name} | {here:.1f} {unit} | {there:.1f} {unit} |")


@dataclass(frozen=True)
class Throughput:
    nodes: int
    tasks: int
    seconds: float

    @property
    def windows_per_second(self) -> float:
        return self.tasks * TASK_WINDOWS / self.seconds


def throughput(folder: Path, counts: Sequence[int]) -> Iterator[Throughput]:
    """With so many nodes at a time, in rising order, and no device of this machine."""
    recording = silence(folder / "task.wav", TASK_WINDOWS)
    with ray_cluster(folder) as cluster, system_of(cluster, folder, []) as system:
        for count in counts:
            for index in range(len(system.device_names()), count):
                cluster.add(f"node{index}")
            wait_for_devices(system, count)
            tasks = count * TASKS_OF_A_NODE
            started_at = time.monotonic()
            ids = [submit(system, recording, "auto", f"window_s={WINDOW_S}") for _ in range(tasks)]
            wait_until(lambda: all(is_completed(system, task_id) for task_id in ids))  # noqa: B023
            seconds = time.monotonic() - started_at
            yield Throughput(count, tasks, seconds)


def share_of_linear(measured: Throughput, first: Throughput) -> float:
    """1.0: every node does as much as those of `first` did."""
    return (measured.windows_per_second / measured.nodes) / (first.windows_per_second / first.nodes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    nodes = parser.parse_args().nodes
    with tempfile.TemporaryDirectory() as folder:
        costs(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        print("| nodes | tasks | seconds | windows a second | of linear |\n|---|---|---|---|---|")
        first, shares = None, []
        for each in throughput(Path(folder), nodes):
            first = first or each
            rate, share = each.windows_per_second, share_of_linear(each, first)
            shares.append(share)
            print(f"| {each.nodes} | {each.tasks} | {each.seconds:.1f} | {rate:.2f} | {share:.0%} |", flush=True)
    if min(shares) < LEAST_SHARE:
        sys.exit(f"Less than {LEAST_SHARE:.0%} of linear.")


if __name__ == "__main__":
    main()
