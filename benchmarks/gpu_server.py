"""The whole server on a GPU: two models, fast mode, word timestamps, a worker that is killed, and a crowded card.

Needs the weights of tiny.en and base. The crowded card: another process holds all but CROWDED_BYTES, so little that the
tasks cannot all run at once; while they run it takes nearly the rest, and gives it back after a while.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import requests

from benchmarks.gpu_neighbour import GIVE_BACK, free_bytes, other_process
from benchmarks.gpu_part import Cell, Part
from benchmarks.recordings import Recording, read_recordings
from benchmarks.scheduling.real_trace import LIMIT_S, RUNS, Upload, get, make_trace, run_trace, wait_until_ready
from benchmarks.server_process import Server
from config import load_settings
from whisper_core.models.weight_files import locate

MODELS = ("tiny.en", "base")
UPLOADS, TRIAL_UPLOADS = 60, 2
SOME = 8  # tasks of each kind beside each other
# Whether a multilingual model is needed, and the options.
KINDS: Mapping[str, tuple[bool, Mapping[str, str]]] = {
    "exact": (False, {}),
    "mode=vad": (False, {"mode": "vad"}),
    "word timestamps": (False, {"word_timestamps": "true"}),
    "translated, five beams": (True, {"task": "translate", "beam_size": "5"}),
}
CROWDED_BYTES = 3_500_000_000
CROWDED_REPEATS = 4  # of the uploads, so that tasks still run when memory is taken
LEFT_BYTES = 150_000_000  # when the other process takes nearly everything
TAKEN_FOR_S = 8.0
FINISH_LIMIT_S = 120.0
LOOK_EVERY_S = 0.25


def measure_server(part: Part) -> None:
    models_dir = load_settings().models_dir.resolve()
    models = [name for name in MODELS if locate(name, models_dir) is not None]
    if part.is_trial:
        models = models[:1]
    if not models:
        part.report.text("Left out: the weights of tiny.en and base are not here.")
        return
    recordings = [each for each in read_recordings(part.recordings, part.scratch) if each.language == "en"]
    trace = make_trace(recordings, models, TRIAL_UPLOADS if part.is_trial else UPLOADS, part.scratch, seed=4)
    at_once = [Upload(0.0, each.model, each.recording) for each in trace]
    kinds(part, models, sorted(recordings, key=lambda each: each.seconds), at_once, models_dir)
    if part.is_trial:
        part.report.text("Left out without a card: a killed worker, a crowded card, the same uploads in bursts.")
        return
    steps = {
        "a killed worker": (40, partial(killed, part, at_once, models_dir)),
        "a crowded card": (60, partial(crowded, part, at_once * CROWDED_REPEATS, models_dir)),
        "bursts": (60, partial(bursts, part, trace, models_dir, "optimised")),
        "bursts, plain path": (90, partial(bursts, part, trace, models_dir, "plain path")),
    }
    for what, (seconds, measure) in steps.items():
        if part.budget.allows(seconds):
            measure()
        else:
            part.report.left_out(what)


def kinds(
    part: Part, models: Sequence[str], recordings: Sequence[Recording], at_once: Sequence[Upload], models_dir: Path
) -> None:
    """Many tasks of all models at once, then some of each kind."""
    title = "Server: tasks sent at once, until the last text"
    with Server(part.scratch / "kinds", models[0], models_dir, settings_of(part, "optimised")) as server:
        wait_until_ready(server.address)
        seconds = timed(server.address, at_once, {})
        part.report.row(title, {"": ", ".join(models), **speed_of(at_once, seconds)})
        for kind, (is_multilingual, fields) in KINDS.items():
            model = models[-1 if is_multilingual else 0]
            if is_multilingual and model.endswith(".en"):
                continue
            uploads = [Upload(0.0, model, each) for each in recordings[: TRIAL_UPLOADS if part.is_trial else SOME]]
            seconds = timed(server.address, uploads, fields)
            part.report.row(title, {"": f"{model}, {kind}", **speed_of(uploads, seconds)})
        devices = get(f"{server.address}/api/system")["devices"]
        part.report.text(f"The server's devices: {', '.join(device['title'] for device in devices)}.")
    if len(devices) == 1:
        part.report.text("Two cards were not tried: one is here. Several devices are tested with fake ones only.")


def timed(address: str, uploads: Sequence[Upload], fields: Mapping[str, str]) -> float:
    done = counts(address).get("completed", 0)
    began = time.perf_counter()
    send_all(address, uploads, fields)
    wait_for_texts(address, done + len(uploads))
    return time.perf_counter() - began


def speed_of(uploads: Sequence[Upload], seconds: float) -> dict[str, Cell]:
    sound = sum(upload.recording.seconds for upload in uploads)
    return {"tasks": len(uploads), "sound, s": sound, "s": seconds, "× real time": sound / seconds}


def settings_of(part: Part, run: str) -> Mapping[str, str]:
    return {**RUNS[run], **({"DEVICES": "cpu"} if part.is_trial else {})}


def bursts(part: Part, trace: Sequence[Upload], models_dir: Path, run: str) -> None:
    outcome = run_trace(run, trace, models_dir, part.scratch / f"bursts {run}", RUNS[run])
    part.report.row(
        "Server: the same uploads in bursts within half a minute",
        {
            "": run,
            "× real time": outcome.throughput,
            "mean wait, s": outcome.mean_wait,
            "p95, s": outcome.p95_wait,
            "mean time to text, s": outcome.mean_response,
            "reserved memory in use, %": 100 * outcome.memory_in_use,
            "peak memory, MB": outcome.peak_used / 1e6,
            "loads": outcome.loads,
        },
    )


def crowded(part: Part, uploads: Sequence[Upload], models_dir: Path) -> None:
    with other_process() as hold, Server(part.scratch / "crowded", MODELS[0], models_dir, RUNS["optimised"]) as server:
        hold(free_bytes() - CROWDED_BYTES)
        wait_until_ready(server.address)
        time.sleep(3 * LOOK_EVERY_S)
        ids = send_all(server.address, uploads, {})
        wait_for_texts(server.address, len(ids) // 12)
        hold(max(0, free_bytes() - LEFT_BYTES))
        time.sleep(TAKEN_FOR_S)
        during = counts(server.address)
        hold(GIVE_BACK)
        wait_for_texts(server.address, len(ids))
        part.report.row(
            "Server: a card on which another process leaves 3.5 GB, takes nearly all of it, and gives it back",
            {
                "tasks": len(ids),
                "completed meanwhile": during.get("completed", 0),
                "completed": counts(server.address).get("completed", 0),
                "timelines": _listed(timeline_codes(server.address, ids)),
            },
        )
        for kind in ("memory", "device"):
            for event in get(f"{server.address}/api/system/events?kind={kind}&limit=10")["events"]:
                part.report.text(f"Event: {event['text']}")


def killed(part: Part, uploads: Sequence[Upload], models_dir: Path) -> None:
    """The worker ends by SIGKILL while it runs tasks."""
    free_before = free_bytes()
    with Server(part.scratch / "killed", MODELS[0], models_dir, RUNS["optimised"]) as server:
        wait_until_ready(server.address)
        ids = send_all(server.address, uploads, {})
        wait_for_texts(server.address, 1)
        psutil.Process(process_on_card(server.pid)).kill()
        wait_for_texts(server.address, len(ids))
        tasks = [get(f"{server.address}/api/tasks/{task_id}")["task"] for task_id in ids]
        device = get(f"{server.address}/api/system")["devices"][0]
        used_by_nvml = free_before - free_bytes()
    time.sleep(LOOK_EVERY_S)
    part.report.row(
        "Server: its worker is killed while tasks run",
        {
            "tasks": len(ids),
            "completed": sum(task["status"] == "completed" for task in tasks),
            "in a second attempt": sum(task["attempts"] > 1 for task in tasks),
            "reserved, MB": device["reserved"] / 1e6,
            "used, MB": device["used"] / 1e6,
            "used by NVML, MB": used_by_nvml / 1e6,
            "not given back, MB": (free_before - free_bytes()) / 1e6,
        },
    )


def process_on_card(server: int) -> int:
    """The server's descendant with the largest resident memory: the one that has torch. NVML's own list of processes
    knows other ids where the server is in a container."""
    descendants = psutil.Process(server).children(recursive=True)
    return max(descendants, key=lambda process: process.memory_info().rss).pid


def send_all(address: str, uploads: Sequence[Upload], fields: Mapping[str, str]) -> list[str]:
    """The new tasks' ids. fields: their options."""

    def send(upload: Upload) -> str:
        with open(upload.recording.file, "rb") as file:
            answer = requests.post(
                f"{address}/api/tasks",
                files={"file": (upload.recording.name, file)},
                data={"model": upload.model, **fields},
                timeout=LIMIT_S,
            )
        answer.raise_for_status()
        return str(answer.json()["task"]["id"])

    with ThreadPoolExecutor(len(uploads)) as pool:
        return list(pool.map(send, uploads))


def counts(address: str) -> dict[str, int]:
    found: dict[str, int] = get(f"{address}/api/tasks?limit=1")["counts"]
    return {status: number for status, number in found.items() if number}


def wait_for_texts(address: str, wanted: int) -> None:
    """Raises TimeoutError, and RuntimeError once a task has failed."""
    deadline = time.monotonic() + FINISH_LIMIT_S
    while (now := counts(address)).get("completed", 0) < wanted:
        if now.get("failed"):
            raise RuntimeError(f"tasks failed: {now}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{wanted} texts are not there: {now}")
        time.sleep(LOOK_EVERY_S)


def timeline_codes(address: str, ids: Sequence[str]) -> dict[str, int]:
    """How often each kind of event happened in the tasks' timelines."""
    codes: Counter[str] = Counter()
    for task_id in ids:
        answer = requests.get(f"{address}/api/tasks/{task_id}/timeline", timeout=LIMIT_S)
        codes.update(event["code"] for event in answer.json()["events"])
    return dict(codes)


def _listed(found: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {number}" for code, number in sorted(found.items()))
