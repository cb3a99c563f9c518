"""Every part of the measurements on a GPU runs without one, on tiny networks, and reports what it is asked for.

The figures mean nothing. Only the server's part needs real weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from benchmarks.cuda_all import PARTS
from benchmarks.gpu_part import Budget, Part, Report, read_lines
from tests.paths import DATA, SHORT

TITLES = {
    "start": {"Kernels, compiled and tried before the first model",
              "Loads, one after the other, without reading weights"},
    "texts": {"Texts beside openai-whisper's functions on the same device, one recording alone each",
              "Texts by the kernels beside those by torch's functions"},
    "kernels": {"Torch's attention of eight windows, by back end", "Kernels beside torch's functions, large-v3, fp16"},
    "replays": {"turbo: steps", "turbo: encoder", "turbo: prompts"},
    "speed": {"Speed: tasks of 8 windows, 100 tokens each, random weights",
              "Idle: time in which no pass was at work on either stream, by events around each of them",
              "What is reached, the better of two runs"},
    "memory": {"Memory: an engine without a model, MB", "Memory: promised by formula and taken, MB",
               "Memory: several models in one process, MB", "Memory: beside a process that has nearly all of the card"},
    "profile": {"An empty profiler session, 2 tasks", "Kernels of 16 tasks of one window, turbo, by torch.profiler"},
}  # fmt: skip


def measured(name: str, folder: Path, seconds: float = 600.0, recordings: Path = DATA) -> list[Any]:
    """The lines of a part's report."""
    scratch = folder / "scratch"
    scratch.mkdir()
    report = Report(name, folder / "cuda.jsonl")
    PARTS[name].measure(Part(report, Budget(seconds), True, recordings, scratch, ("turbo",)))
    return list(read_lines(folder / "cuda.jsonl"))


def rows_of(lines: list[Any], title: str) -> list[dict[str, Any]]:
    return [line["row"] for line in lines if line.get("title") == title]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, with which Triton's interpreter computes
@pytest.mark.parametrize("name", TITLES)
def test_a_part_reports_all_of_its_tables(name: str, tmp_path: Path) -> None:
    lines = measured(name, tmp_path)
    assert {line["title"] for line in lines if "row" in line} == TITLES[name]
    assert not [line["text"] for line in lines if line.get("text", "").startswith(("Left out", "Logged"))]
    check = CHECKS.get(name)
    if check is not None:
        check(lines)


def check_texts(lines: list[Any]) -> None:
    """In fp32 nothing differs."""
    rows = rows_of(lines, "Texts beside openai-whisper's functions on the same device, one recording alone each")
    assert [row[""].partition(", ")[2] for row in rows] == [
        "with kernels", "beside one that falls back", "the one that falls back", "with torch's functions",
        "without CUDA graphs", "with 5 beams",
    ]  # fmt: skip
    assert {row["texts that differ"] for row in rows} == {0}
    assert rows[2]["fell back"] == 1


def check_kernels(lines: list[Any]) -> None:
    rows = rows_of(lines, "Kernels beside torch's functions, large-v3, fp16")
    assert len(rows) == 6
    assert max(row["largest difference"] for row in rows) < 1e-4


def check_replays(lines: list[Any]) -> None:
    """Every graph that a model with four slots has."""
    assert [row["slots"] for row in rows_of(lines, "turbo: steps")] == [1, 2, 4]
    encoder = [(row[""], row["windows"]) for row in rows_of(lines, "turbo: encoder")]
    assert encoder == [("encode", 1), ("encode", 2), ("language", 1), ("language", 2)]
    prompts = [(row["positions"], row["windows"]) for row in rows_of(lines, "turbo: prompts")]
    assert prompts == [(length, windows) for length in (8, 64, 256) for windows in (1, 2, 4)]


def check_speed(lines: list[Any]) -> None:
    speeds = rows_of(lines, "Speed: tasks of 8 windows, 100 tokens each, random weights")
    assert [(row["tasks"], row["run"]) for row in speeds] == [(1, 1), (2, 1), (1, 1), (2, 2), (1, 2)]
    assert {row["tokens/window"] for row in speeds[1:]} == {5}
    idle = rows_of(lines, "Idle: time in which no pass was at work on either stream, by events around each of them")
    assert [row["tasks"] for row in idle] == [2, 1]
    for row in idle:
        assert 0 <= row["whole, at least, %"] <= row["at most, %"] <= 100
        assert 0 <= row["steady, at least, %"] <= row["steady, at most, %"] <= 100


def check_memory(lines: list[Any]) -> None:
    tight = rows_of(lines, "Memory: beside a process that has nearly all of the card")
    assert [(row["tasks"], row["completed"], row["failed"]) for row in tight] == [(4, 4, 0)] * 2


CHECKS = {
    "texts": check_texts,
    "kernels": check_kernels,
    "replays": check_replays,
    "speed": check_speed,
    "memory": check_memory,
}


@pytest.mark.parametrize("name", ["replays", "memory", "start"])
def test_what_there_is_no_time_for_is_left_out_and_said(name: str, tmp_path: Path) -> None:
    lines = measured(name, tmp_path, seconds=0.0)
    assert [line["text"] for line in lines if line.get("text", "").startswith("Left out for lack of time: ")]


@pytest.mark.models
@pytest.mark.server
@pytest.mark.slow
def test_the_server_transcribes_in_every_mode(
    tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(models_dir))
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    copy(SHORT, recordings)
    manifest = [{"file": SHORT.name, "language": "en", "text": None}]
    (recordings / "manifest.json").write_text(json.dumps(manifest))
    lines = measured("server", tmp_path, recordings=recordings)
    rows = rows_of(lines, "Server: tasks sent at once, until the last text")
    kinds = ["tiny.en", "tiny.en, exact", "tiny.en, mode=vad", "tiny.en, word timestamps"]
    assert [row[""] for row in rows] == kinds
    assert [row["tasks"] for row in rows] == [2, 1, 1, 1]
