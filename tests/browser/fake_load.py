"""What a busy server with two cards answers: made-up figures in the shapes of docs/api.md, alike for a given moment."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

GB = 1_000_000_000
MODEL_BYTES = {"base": int(0.4 * GB), "small": int(1.2 * GB), "large-v3": int(4.1 * GB), "tiny.en": int(0.2 * GB)}
SPEEDS = {"base": 95.0, "small": 48.0, "large-v3": 17.0, "tiny.en": 140.0}
RESIDENT = {"cuda:0": ("large-v3", "small", "base"), "cuda:1": ("large-v3", "tiny.en")}
TOTAL = {"cuda:0": 24 * GB, "cuda:1": 16 * GB}
SLOTS = {"cuda:0": 8, "cuda:1": 6}
FILENAMES = (
    "board-meeting-2026-11-24.m4a",
    "interview with Dr. Okafor (second half).mp3",
    "lecture-07-thermodynamics.mp4",
    "客户回访录音.m4a",
    "podcast_ep_112.flac",
    "voicemail-3.ogg",
    "town hall recording with a rather long name that does not end.wav",
    "dictation.wav",
    "court-hearing-b.mp3",
)


def task_id(number: int) -> str:
    return f"01JDFAKE00000000000000{number:04d}"


def history(now: float, hours: float) -> dict[str, Any]:
    """The body of GET /api/system/history."""
    span = max(30.0, hours * 3600 / 240)
    count = int(hours * 3600 / span)
    dice = random.Random(7)
    samples = []
    waiting = 6.0
    for index in range(count + 1):
        at = now - (count - index) * span
        burst = 1.6 if math.sin(index / 19) > 0.55 else 0.35
        waiting = max(0.0, waiting * 0.93 + burst * dice.uniform(0.2, 2.4) - 0.25)
        busy = min(1.0, 0.25 + waiting / 9)
        samples.append(_sample(at, span, waiting, busy, dice, index))
    return {"samples": samples, "changes": _changes(samples), "extra_metrics": []}


def _sample(at: float, span: float, waiting: float, busy: float, dice: random.Random, index: int) -> dict[str, Any]:
    running = round(busy * sum(SLOTS.values()))
    devices = {name: _memory(name, busy, dice, index) for name in TOTAL}
    speeds = {
        name: {model: SPEEDS[model] * dice.uniform(0.88, 1.06) for model in memory["models"]}
        for name, memory in devices.items()
    }
    mean_wait = 4 + waiting * dice.uniform(5, 7)
    return {
        "at": at,
        "span_seconds": span,
        "throughput": 18 + 190 * busy * dice.uniform(0.85, 1.05),
        "running": running,
        "waiting": round(waiting),
        "retrying": 1 if index % 37 in (0, 1, 2) else 0,
        "started": round(busy * 9),
        "completed": round(busy * 9),
        "failed": 1 if index % 97 == 5 else 0,
        "mean_wait_seconds": mean_wait,
        "p95_wait_seconds": mean_wait * dice.uniform(2.1, 2.9),
        "occupancy": busy,
        "devices": devices,
        "speeds": speeds,
        "extra": {},
    }


def _memory(name: str, busy: float, dice: random.Random, index: int) -> dict[str, Any]:
    resident = list(RESIDENT[name])
    if name == "cuda:0" and (index // 60) % 2:
        resident.remove("base")
    models = {model: MODEL_BYTES[model] for model in resident}
    total = TOTAL[name]
    others = int((2.1 if (index // 45) % 3 == 1 else 0.6) * GB)
    room = total - sum(models.values()) - int(0.06 * total) - others
    tasks = int(room * min(0.97, busy * dice.uniform(0.82, 0.98)))
    reserved = sum(models.values()) + tasks
    return {
        "total": total,
        "headroom": int(0.06 * total),
        "reserved": reserved,
        "used": int(reserved * dice.uniform(0.86, 0.95)),
        "others": others,
        "models": models,
    }


def _changes(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    places = (0.18, 0.36, 0.61, 0.83)
    return [
        {"at": samples[int(place * (len(samples) - 1))]["at"], **change}
        for place, change in zip(places, _CHANGES, strict=True)
    ]


def _change(text: str, step: str, before: int, after: int, throughputs: tuple[float, float | None]) -> dict[str, Any]:
    data = {
        "setting": "max_concurrent_tasks",
        "step": step,
        "before": before,
        "after": after,
        "throughput_before": throughputs[0],
        "throughput_after": throughputs[1],
    }
    return {"text": text, "data": data}


_CHANGES = (
    _change("MAX_CONCURRENT_TASKS from 8 to 11: more may get more done.", "tried", 8, 11, (148.0, None)),
    _change("MAX_CONCURRENT_TASKS=11 stays: throughput rose by 9 %.", "kept", 8, 11, (148.0, 161.5)),
    _change("MAX_CONCURRENT_TASKS from 11 to 15: more may get more done.", "tried", 11, 15, (161.0, None)),
    _change(
        "MAX_CONCURRENT_TASKS is 11 again: throughput fell by 3 %. Not tried again for 20 samples.",
        "taken_back",
        15,
        11,
        (161.0, 156.2),
    ),
)


def device(name: str) -> dict[str, Any]:
    """One entry of GET /api/system's devices."""
    resident = RESIDENT[name]
    tasks = _tasks(name)
    models = [
        {
            "name": model,
            "reserved_bytes": MODEL_BYTES[model],
            "state": "loading" if model == "tiny.en" else "loaded",
            "is_used": any(task["model"] == model for task in tasks),
            "slots": 0,
        }
        for model in resident
    ]
    reserved = sum(MODEL_BYTES[model] for model in resident) + sum(task["reserved_bytes"] for task in tasks)
    total, others = TOTAL[name], int(0.6 * GB)
    return {
        "name": name,
        "kind": "cuda",
        "title": "NVIDIA RTX 4090" if name == "cuda:0" else "NVIDIA RTX 4060 Ti",
        "state": "ready",
        "total": total,
        "headroom": int(0.06 * total),
        "reserved": reserved,
        "used": int(reserved * 0.91),
        "others": others,
        "free": total - reserved - others - int(0.06 * total),
        "resident_models": [model for model in resident if model != "tiny.en"],
        "running": [task["id"] for task in tasks],
        "slots": SLOTS[name],
        "models": models,
        "tasks": tasks,
    }


def _tasks(name: str) -> list[dict[str, Any]]:
    first, count = (0, 6) if name == "cuda:0" else (6, 3)
    models = [model for model in RESIDENT[name] if model != "tiny.en"]
    return [
        {
            "id": task_id(number),
            "filename": FILENAMES[number],
            "model": models[number % len(models)],
            "priority": ("normal", "high", "low")[number % 3],
            "progress": (0.12 + 0.23 * number) % 0.97,
            "audio_seconds": 340.0 + 910 * number,
            "reserved_bytes": int((0.7 + 0.35 * (number % 4)) * GB),
            "peak_bytes": None,
            "work_left_seconds": 200.0 + 300 * number,
            "eta_seconds": 14.0 + 37 * number,
        }
        for number in range(first, first + count)
    ]


def system(settings: dict[str, Any], limits: dict[str, int]) -> dict[str, Any]:
    """What GET /api/system says beyond a FakeSystem's own status."""
    adaptive = {
        "enabled": True,
        **limits,
        "last_change": {"at": "2026-11-26T10:00:00.000Z", "text": _CHANGES[-1]["text"]},
    }
    advice = "Raise MAX_CONCURRENT_TASKS_LIMIT: 9 GB stand free on cuda:0 and 14 tasks wait."
    return {
        "devices": [device(name) for name in TOTAL],
        "counts": {"pending": 12, "retrying": 1, "processing": 9, "completed": 431, "failed": 2, "cancelled": 3},
        "throughput": {"audio_seconds_per_second": 173.4},
        "occupancy": 0.82,
        "adaptive": adaptive,
        "advice": [advice],
        "advice_items": [
            {
                "code": "raise_concurrency",
                "text": advice,
                "data": {"device": "cuda:0", "free_bytes": 9 * GB, "waiting": 14, "limit": 11},
            }
        ],
        "memory_estimates": [
            {
                "device": name,
                "model": model,
                "count": 11 + 14 * len(model),
                "median_error": 0.031 * len(model) / 2,
                "is_calibrated": model != "tiny.en",
                "margin": 0.06 if model != "tiny.en" else 0.2,
                "last": {"predicted": 820_000_000, "reserved": 870_000_000, "measured": 797_000_000},
            }
            for name, models in RESIDENT.items()
            for model in models
        ],
        "forecasts": {"count": 431, "median_error_seconds": 9.4, "median_error": 0.12, "within_interval": 0.91},
        "wait_bound": {
            "patience_seconds": 600,
            "text": "Short tasks go first, but no task is passed by one that came more than 10 min 0 s after it.",
        },
        "settings": {**settings, "PERFORMANCE_MONITOR_INTERVAL": 2},
        "limits": limits,
    }


_WHYS = ("shortest", "resident_model", "starving", "together", "only_one_that_fits", "arrival")


def events(now: float, kind: str | None, limit: int, before: int | None) -> dict[str, Any]:
    """The body of GET /api/system/events."""
    last = 400 if before is None else before - 1
    found = [_event(now, number) for number in range(last, 0, -1)]
    return {"events": [event for event in found if kind in (None, event["kind"])][:limit]}


def _event(now: float, number: int) -> dict[str, Any]:
    at = now - (400 - number) * 41.0
    kinds = ("decision", "decision", "decision", "memory", "decision", "model", "decision", "tuning", "device")
    kind = kinds[number % len(kinds)]
    texts = {
        "memory": "cuda:0: other programs take 2.1 GB now",
        "model": "small was evicted from cuda:1 after 300 s without use",
        "tuning": _CHANGES[1]["text"],
        "device": "cuda:1 is ready",
    }
    if kind != "decision":
        data = _CHANGES[1]["data"] if kind == "tuning" else {}
        return {"id": number, "at": at, "kind": kind, "text": texts[kind], "data": data}
    data = {
        "task_id": task_id(number % 9),
        "device": ("cuda:0", "cuda:1")[number % 2],
        "model": ("large-v3", "small", "base")[number % 3],
        "priority": ("normal", "high", "low")[number % 3],
        "waited_seconds": 2.0 + (number * 37) % 420,
        "passed": (number * 5) % 7,
        "why": _WHYS[number % len(_WHYS)],
        "load_model": number % 7 == 0,
        "evict": ["tiny.en"] if number % 14 == 0 else [],
        "due_in_seconds": 30.0 * (number % 5),
    }
    return {"id": number, "at": at, "kind": kind, "text": f"started {data['task_id']}", "data": data}


def log_lines(now: float, limit: int) -> dict[str, Any]:
    """The body of GET /api/system/log."""
    lines = (
        ("INFO", "optimizer.scheduling.dispatcher", "started board-meeting-2026-11-24.m4a on cuda:0 (large-v3)"),
        ("INFO", "optimizer.scheduling.result_recorder", "completed voicemail-3.ogg in 4.1 s"),
        ("WARNING", "optimizer.memory.ledger", "cuda:0: other programs took 1.5 GB of reserved memory"),
        ("INFO", "optimizer.devices.discovery", "small loaded on cuda:0 in 2.3 s"),
        ("ERROR", "optimizer.devices.worker_process", "cuda:1: out of memory at batch 8, going on with batch 4"),
    )
    count = min(limit, 60)
    return {
        "lines": [
            {"at": now - (count - index) * 13.0, "level": level, "logger": logger, "message": message}
            for index in range(count)
            for level, logger, message in [lines[(index * index + index) % len(lines)]]
        ]
    }


def storage() -> dict[str, Any]:
    """The body of GET /api/system/storage."""
    return {
        "media_bytes": 48 * GB,
        "texts_bytes": GB // 10,
        "samples_bytes": 2 * GB,
        "incoming_bytes": 0,
        "database_bytes": GB // 10,
        "free_bytes": 812 * GB,
        "owners": [],
    }


def timeline(now: float) -> dict[str, Any]:
    """The body of GET /api/tasks/<id>/timeline of a task that had an eventful life."""
    start = datetime.fromtimestamp(now, UTC) - timedelta(seconds=400)
    steps: tuple[tuple[float, str, dict[str, Any]], ...] = (
        (0, "uploaded", {"size_bytes": 52_992_000}),
        (1.4, "decoded", {"audio_seconds": 3312.0}),
        (
            48.2,
            "started",
            {
                "device": "cuda:0",
                "model": "large-v3",
                "attempt": 1,
                "waited_seconds": 46.8,
                "reason": "shortest",
                "passed": 2,
            },
        ),
        (95.0, "gave_way", {"to_task": task_id(5), "progress": 0.2}),
        (121.0, "started", {"device": "cuda:0", "model": "large-v3", "attempt": 2, "progress": 0.2}),
        (140.5, "memory", {"step": "batch_shrunk", "windows": 8, "slots": 4}),
        (180.0, "interrupted", {"code": "worker_died"}),
        (181.0, "retrying", {"code": "worker_died", "message": "The worker died.", "delay_seconds": 5}),
        (
            188.0,
            "started",
            {"device": "cuda:1", "model": "large-v3", "attempt": 3, "progress": 0.4},
        ),
        (371.0, "completed", {"seconds": 183.0, "speed": 18.1}),
    )
    return {
        "events": [
            {
                "at": (start + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z"),
                "code": code,
                "text": code,
                "data": data,
            }
            for seconds, code, data in steps
        ]
    }
