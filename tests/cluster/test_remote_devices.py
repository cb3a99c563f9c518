"""Devices of other machines: they come and go with their nodes, and run tasks as the server's own do."""

from __future__ import annotations

import random
import wave
from pathlib import Path

import pytest

from optimizer.cluster.sound import CHUNK_BYTES
from optimizer.devices.engines import BATCH
from optimizer.tasks.task import TaskStatus
from tests.cluster.conftest import OpenClustered, StartCluster, wait_for_devices
from tests.paths import MINUTE, ROOT
from tests.system.conftest import Submit, Watcher
from version import __version__
from whisper_core.text.transcript import Transcript


def write_noise(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(random.Random(1).randbytes(int(seconds * 8000) * 2))
    return path


def said(transcript: Transcript) -> list[tuple[float, float, str, tuple[int, ...]]]:
    return [(each.start, each.end, each.text, each.tokens) for each in transcript.segments]


def test_a_node_s_device_runs_a_task_and_leaves_with_its_node(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, tmp_path: Path
) -> None:
    cluster = start_cluster("one")
    with open_clustered(cluster) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "cpu", "one-cpu")
        local = watcher.wait_for(submit(system, MINUTE, device="cpu"), TaskStatus.COMPLETED)
        remote = watcher.wait_for(submit(system, MINUTE, device="one-cpu"), TaskStatus.COMPLETED)
        assert (local.device, remote.device) == ("cpu", "one-cpu")
        assert system.transcript(remote.id) == system.transcript(local.id)
        (memory,) = (each for each in system.status()["devices"] if each["name"] == "one-cpu")
        assert memory["kind"] == "cpu"
        assert not list((tmp_path / "nodes").rglob("*.pcm"))

        cluster.kill("one")
        watcher.wait_until(lambda: system.device_names() == ["cpu"], "the end of the device")
        assert (system.health(), system.readiness(), system.degradations()) == ([], [], [])
        gone = "one is gone; its tasks go on elsewhere."
        watcher.wait_until(lambda: gone in [event.text for event in system.events("device")], "the word about the node")


def test_a_node_of_another_version_is_refused_with_a_clear_word(
    start_cluster: StartCluster, open_clustered: OpenClustered, tmp_path: Path
) -> None:
    """It was not upgraded with the server, or comes back from a long repair."""
    old = tmp_path / "old"
    old.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in ("version.py", "data", ".git"):
            (old / entry.name).symlink_to(entry)
    (old / "version.py").write_text('PRODUCT_NAME = "x"\n__version__ = "0.0.1"\n')
    empty = tmp_path / "empty"
    empty.mkdir()
    cluster = start_cluster()
    cluster.add("old", folder=old)
    cluster.add("elsewhere", folder=empty)
    cluster.add("one")
    with open_clustered(cluster) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "cpu", "one-cpu")
        wanted = {
            f"old is not used. It has version 0.0.1 of the transcription server, and this one is {__version__}.",
            "elsewhere is not used. Ray was not started there in the folder of the transcription server.",
        }
        watcher.wait_until(lambda: wanted <= {event.text for event in system.events("device")}, "both words")
        assert set(system.device_names()) == {"cpu", "one-cpu"}
        assert (system.readiness(), system.degradations()) == ([], [])


def test_a_long_recording_arrives_in_pieces_and_leaves_nothing_behind(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, tmp_path: Path
) -> None:
    """Longer than one object of Ray's store; also when the actor is killed with the recording on its disk."""
    long = write_noise(tmp_path / "long.wav", seconds=1.2 * CHUNK_BYTES / 32_000)
    cluster = start_cluster("one")
    with open_clustered(cluster) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "cpu", "one-cpu")
        local = watcher.wait_for(submit(system, long, device="cpu"), TaskStatus.COMPLETED)
        remote = submit(system, long, device="one-cpu", knobs="hold@1 once")
        watcher.wait_for_a_window(remote)
        (sound,) = (tmp_path / "nodes").rglob("*.pcm")
        assert sound.stat().st_size > CHUNK_BYTES
        assert sound.stat().st_mode & 0o077 == sound.parent.parent.stat().st_mode & 0o077 == 0

        for process in cluster.processes_of("one"):
            if "DeviceActor" in " ".join(process.cmdline()):
                process.kill()
        task = watcher.wait_for(remote, TaskStatus.COMPLETED)
        assert (task.device, task.attempt) == ("one-cpu", 2)
        assert system.transcript(remote) == system.transcript(local.id)
        watcher.wait_until(lambda: not list((tmp_path / "nodes").rglob("*.pcm")), "an end of the recording there")


def test_a_recording_in_a_shared_folder_is_not_sent(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, tmp_path: Path
) -> None:
    cluster = start_cluster("one")
    with open_clustered(cluster, shared_dir=str(tmp_path)) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "cpu", "one-cpu")
        task_id = submit(system, MINUTE, device="one-cpu", knobs="hold@1 once")
        watcher.wait_for_a_window(task_id)
        assert not list((tmp_path / "nodes").rglob("*.pcm"))
        system.cancel(task_id)
        task = watcher.wait_for(submit(system, MINUTE, device="one-cpu"), TaskStatus.COMPLETED)
        assert task.attempt == 1


def test_a_node_without_a_model_and_a_source_says_so_and_others_do_its_work(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, tmp_path: Path
) -> None:
    cluster = start_cluster()
    cluster.add("one", MODELS_DIR=str(tmp_path / "none"))
    with open_clustered(cluster, max_task_retries=0) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "cpu", "one-cpu")
        pinned = submit(system, MINUTE, device="one-cpu")

        def is_said() -> bool:
            return any(event.data.get("code") == "model_unavailable" for event in system.events("model"))

        watcher.wait_until(is_said, "the word about the model")
        ids = [submit(system, MINUTE) for _ in range(3)]
        tasks = [watcher.wait_for(task_id, TaskStatus.COMPLETED) for task_id in ids]
        assert [(task.device, task.attempt) for task in tasks] == [("cpu", 1)] * 3
        assert not system.task(pinned).task.status.is_final  # it waits for the weights


@pytest.mark.models
def test_a_recording_that_begins_on_one_node_ends_on_another_with_the_same_text(
    start_cluster: StartCluster, open_clustered: OpenClustered, submit: Submit, models_dir: Path
) -> None:
    """With a real model, and the server's own engine. Its log is shown by
    `make test-cluster PYTEST_ARGS="-k same_text --log-cli-level=INFO"`.
    """
    cluster = start_cluster("one", "two", MODELS_DIR=str(models_dir))
    engine = {"fake_engine": BATCH.factory, "models_dir": models_dir}
    with open_clustered(cluster, devices=[], max_task_retries=0, **engine) as system:
        watcher = Watcher(system)
        wait_for_devices(watcher, "one-cpu", "two-cpu")
        undisturbed = watcher.wait_for(submit(system, MINUTE), TaskStatus.COMPLETED)
        text, _ = system.transcript(undisturbed.id)
        assert len(text.text) > 300
        task_id = submit(system, MINUTE)
        watcher.wait_for_a_window(task_id)
        first = system.task(task_id).task.device or ""
        cluster.kill(first.removesuffix("-cpu"))
        task = watcher.wait_for(task_id, TaskStatus.COMPLETED)
        assert {first, task.device} == {"one-cpu", "two-cpu"}
        assert (task.attempt, task.attempt - task.free_attempts) == (2, 1)
        again, _ = system.transcript(task_id)
        # Kernels are chosen by their speed, so last digits of probabilities may differ.
        assert said(again) == said(text)
