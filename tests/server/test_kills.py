"""Accepted tasks survive SIGKILL of any process at any moment and end with the same transcript, once."""

from __future__ import annotations

import random
import signal
import threading
import wave
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fake_engine import BYTES_PER_FRAME, WINDOW_FRAMES, fake_segment
from tests.paths import MINUTE
from tests.server.client import Client
from tests.server.conftest import StartServer
from tests.web.live_client import LiveClient
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

KILLS = 10
GONE_LIMIT_S = 60


def expected_text(path: Path) -> str:
    """The fake engine's text of the whole recording, without an interruption."""
    with wave.open(str(path)) as file:
        samples = file.readframes(file.getnframes())
    frames = len(samples) // BYTES_PER_FRAME
    windows = range(0, frames, WINDOW_FRAMES)
    return "".join(fake_segment(0, at, min(at + WINDOW_FRAMES, frames), samples).text for at in windows)


def kill_all(server: RunningServer) -> None:
    """As a power cut would: the master first, then everything below it; waits until nothing is left."""
    master = psutil.Process(server.pid)
    family = [master, *master.children(recursive=True)]
    for process in family:
        kill(process)
    psutil.wait_procs(family, timeout=GONE_LIMIT_S)
    server.wait()


def kill(process: psutil.Process) -> None:
    if process.is_running():
        process.send_signal(signal.SIGKILL)


def device_workers(server: RunningServer) -> list[psutil.Process]:
    return [child for child in server.worker.children() if "spawn_main" in " ".join(child.cmdline())]


def test_ten_kills_of_the_whole_server_at_random_moments(start_server: StartServer, five_minutes: Path) -> None:
    """Random, except that no window is interrupted a third time: such a task is given up (`poison`)."""
    chance, pause, done_at_kill = random.Random(1), threading.Event(), [0.0]
    with start_server() as server:
        task_id = Client(server).upload(five_minutes, initial_prompt="window_s=0.4")["id"]
        kill_all(server)
    for _ in range(KILLS - 1):
        with start_server() as server:
            client = Client(server)
            client.wait_for(task_id, "processing", "completed")
            pause.wait(chance.uniform(0.0, 1.0))
            if done_at_kill.count(done_at_kill[-1]) == 2:
                client.wait_for_progress(task_id, beyond=done_at_kill[-1])
            done_at_kill.append(client.task(task_id)["progress"])
            kill_all(server)
    with start_server() as server:
        client = Client(server)
        task = client.wait_for(task_id, "completed")
        transcript = client.transcript(task_id)
        assert transcript["text"] == expected_text(five_minutes)
        assert [segment["id"] for segment in transcript["segments"]] == list(range(10))
        assert task["attempts"] >= 2
        assert len(list((server.data_dir / "transcripts").iterdir())) == 1
        assert client.get("/api/tasks").json()["counts"]["completed"] == 1


def test_ten_kills_of_the_device_s_process_at_random_moments(start_server: StartServer, twenty_minutes: Path) -> None:
    """Few of them before the attempt's first window: such a death counts as a failed attempt, and delays the next."""
    chance, pause = random.Random(2), threading.Event()
    with start_server(MAX_TASK_RETRIES="20") as server:
        client = Client(server)
        task_id = client.upload(twenty_minutes, initial_prompt="window_s=0.2")["id"]
        for _ in range(KILLS):
            client.wait_until(lambda: is_at_work(server, client, task_id), "a device at work")
            pause.wait(chance.uniform(0.0, 1.0))
            (worker,) = device_workers(server)
            kill(worker)
            psutil.wait_procs([worker], timeout=GONE_LIMIT_S)
        task = client.wait_for(task_id, "completed")
        assert client.transcript(task_id)["text"] == expected_text(twenty_minutes)
        assert task["error"] is None
        assert client.get("/healthz").status_code == 200


@pytest.mark.proves("F22")
def test_clients_notice_nothing_of_a_device_s_process_that_crashes_or_is_killed(
    start_server: StartServer, five_minutes: Path
) -> None:
    """First it ends itself by a signal, as by a segmentation fault; then it is killed, as for lack of memory."""
    with start_server(MAX_TASK_RETRIES="0") as server, LiveClient(server.port) as page:
        client = Client(server)
        crashing = client.upload(five_minutes, initial_prompt="abort@0")["id"]
        assert client.wait_for(crashing, "failed")["error"]["code"] == "worker_died"

        task_id = client.upload(five_minutes, initial_prompt="window_s=0.2")["id"]
        client.wait_for_progress(task_id, beyond=0.0)
        (worker,) = device_workers(server)
        kill(worker)
        psutil.wait_procs([worker], timeout=GONE_LIMIT_S)
        while (shown := page.next("task"))["id"] != task_id or shown["status"] != "completed":
            assert client.get("/healthz").status_code == 200
        task = client.task(task_id)
        assert client.transcript(task_id)["text"] == expected_text(five_minutes)
        assert (task["attempts"], task["error"]) == (2, None)
        assert client.get("/readyz").status_code == 200


def test_a_killed_web_process_is_started_again_and_goes_on(start_server: StartServer, five_minutes: Path) -> None:
    with start_server() as server:
        client = Client(server)
        task_id = client.upload(five_minutes, initial_prompt="window_s=0.2")["id"]
        client.wait_for(task_id, "processing")
        kill(server.worker)
        client.wait_until(lambda: answers(client), "an answer after the kill")
        client.wait_for(task_id, "completed")
        assert client.transcript(task_id)["text"] == expected_text(five_minutes)


def test_sigterm_requeues_running_tasks_and_ends_with_0(start_server: StartServer, five_minutes: Path) -> None:
    with start_server() as server:
        client = Client(server)
        task_id = client.upload(five_minutes, initial_prompt="window_s=0.5")["id"]
        client.wait_until(lambda: client.task(task_id)["windows_done"] >= 1, "one window")
        server.send(signal.SIGTERM)
        assert server.wait() == 0
    with start_server() as server:
        task = Client(server).task(task_id)
        assert (task["status"], task["error"]) in (("pending", None), ("processing", None))
        assert task["windows_done"] >= 1


@pytest.mark.models
def test_a_killed_server_goes_on_with_the_real_engine_and_ends_with_the_same_transcript(
    start_server: StartServer, models_dir: Path
) -> None:
    with start_server("main", MODELS_DIR=str(models_dir)) as server:
        client = Client(server)
        task_id = client.upload(MINUTE)["id"]
        client.wait_until(lambda: client.task(task_id)["windows_done"] >= 1, "one window", limit_s=120)
        kill_all(server)
    with start_server("main", MODELS_DIR=str(models_dir)) as server:
        client = Client(server)
        assert client.task(task_id)["windows_done"] >= 1
        interrupted = client.wait_for(task_id, "completed")
        untouched = client.wait_for(client.upload(MINUTE)["id"], "completed")
        assert interrupted["attempts"] == 2
        assert client.transcript(task_id) == up_to_last_bits(client.transcript(untouched["id"]))


def up_to_last_bits(transcript: dict[str, Any]) -> dict[str, Any]:
    """For a comparison that forgives probabilities their last bits: a worker chooses its kernels by a measurement, and
    they add in different orders."""
    sums = {"avg_logprob", "no_speech_prob"}
    return {
        **transcript,
        "segments": [
            {name: pytest.approx(value, abs=1e-4) if name in sums else value for name, value in segment.items()}
            for segment in transcript["segments"]
        ],
    }


def is_at_work(server: RunningServer, client: Client, task_id: str) -> bool:
    return client.task(task_id)["status"] == "processing" and len(device_workers(server)) == 1


def answers(client: Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except OSError:
        return False
