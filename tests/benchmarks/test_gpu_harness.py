"""The arithmetic and the time-keeping of the measurements on a GPU."""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from benchmarks import cuda_all
from benchmarks.child_process import Sound
from benchmarks.cuda_all import PARTS, end_with_children, parse_arguments, publish, run_all, run_part
from benchmarks.gpu_correctness import compared
from benchmarks.gpu_part import Budget, Report, as_document, read_lines, shown
from benchmarks.gpu_replays import step_bytes
from benchmarks.gpu_speed import noises
from benchmarks.gpu_timeline import (
    DirectLaunch,
    EventMark,
    IdleShares,
    PassRun,
    RecordedLaunch,
    Timeline,
    covered,
    idle_share,
    idle_shares,
    steady_range,
)
from benchmarks.measurement import Measurement, Text
from benchmarks.recordings import Recording
from whisper_core.models.catalogue import model_info


class Clock:
    """Seconds that somebody else lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# --- idle time -------------------------------------------------------------------------------------------------------


def step(slots: int, begin: float, end: float, launch_s: float = 0.0) -> PassRun:
    return PassRun(("step", None, slots), begin, min(begin + launch_s, end), end)


def encoding(begin: float, end: float, launch_s: float = 0.0) -> PassRun:
    return PassRun(("encode", 8), begin, min(begin + launch_s, end), end)


def test_time_ranges_that_overlap_count_once() -> None:
    assert covered([(0, 4), (1, 2), (3, 6), (8, 9)]) == 7


def test_a_card_is_idle_where_neither_stream_works() -> None:
    """Whatever the order in which passes were launched, and only within the time that is asked about."""
    ranges = [(4.0, 6.0), (1.0, 3.0), (2.0, 5.0), (9.0, 12.0), (-3.0, 0.5), (20.0, 30.0)]
    assert idle_share(ranges, (0.0, 10.0)) == pytest.approx(1 - (0.5 + 5.0 + 1.0) / 10)
    assert idle_share([], (0.0, 10.0)) == 1
    assert idle_share([(-1.0, 11.0)], (0.0, 10.0)) == 0


def test_while_a_pass_is_launched_the_card_may_be_idle_or_not() -> None:
    """On a busy stream the first event waits for the pass before, so what the launch took was no idle time."""
    runs = [step(4, 0.0, 4.0, launch_s=1.0), encoding(4.0, 8.0, launch_s=0.5), step(4, 4.0, 10.0, launch_s=9.0)]
    assert idle_shares(runs, (0.0, 10.0)) == IdleShares(0.0, 0.35)


def test_the_steady_part_has_at_least_half_of_the_slots_in_use() -> None:
    runs = [step(1, 0, 1), encoding(0, 9), step(8, 1, 2), step(4, 2, 3), step(1, 3, 4), step(4, 4, 5), step(2, 5, 6)]
    assert steady_range(runs) == (1, 5)


@dataclass
class Moment:
    at: float

    def seconds_until(self, later: Moment) -> float:
        return later.at - self.at


def test_passes_are_recorded_while_somebody_records_and_not_before() -> None:
    clock, timeline = Clock(), Timeline(is_trial=True)
    timeline.new_mark = lambda: Moment(clock.now)
    launch = RecordedLaunch(DirectLaunch(), timeline)

    def work() -> str:
        clock.now += 2
        return "result"

    launch.prepare("prepared", work)
    assert launch("unrecorded", work) == "result"
    with timeline.recording() as runs:
        clock.now += 1
        assert launch("recorded", work) == "result"
    launch("afterwards", work)
    assert [(run.key, run.begin, run.end) for run in runs] == [("recorded", 1.0, 3.0)]
    assert list(timeline.prepared) == ["prepared"]
    with timeline.recording() as again:
        pass
    assert again == []


class Event:
    """torch.cuda.Event on a stream that takes 3 ms between any two of them."""

    at = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        Event.at += 3.0
        self._at = Event.at

    def elapsed_time(self, later: Event) -> float:
        return later._at - self._at


def test_events_tell_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    first, _, last = EventMark(), EventMark(), EventMark()
    assert first.seconds_until(last) == pytest.approx(0.006)


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_budget_is_what_is_left_of_the_time() -> None:
    clock = Clock()
    budget = Budget(10.0, clock)
    clock.now += 7
    assert (budget.left_s, budget.allows(3.0), budget.allows(3.1)) == (3.0, True, False)


def options_for(folder: Path, *arguments: str) -> Namespace:
    return parse_arguments(["--smoke", "--out", str(folder), *arguments])


def run_with(
    clock: Clock, taken: dict[str, float], folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> dict[str, float]:
    """The seconds that each part was given, where each takes as long as is said, or all that it was given."""
    given: dict[str, float] = {}

    def part(name: str, seconds: float, options: Namespace) -> str:
        given[name] = seconds
        clock.now += taken.get(name, seconds)
        return ""

    monkeypatch.setattr(cuda_all, "run_part", part)
    run_all(options_for(folder, *arguments), clock)
    return given


def test_the_parts_together_take_the_time_that_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = run_with(Clock(), {}, tmp_path, monkeypatch)
    assert given == pytest.approx({name: plan.share_s for name, plan in PARTS.items()})
    assert sum(given.values()) == pytest.approx(720)


def test_what_a_part_does_not_need_the_next_ones_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ("memory", "server", "profile")
    given = run_with(Clock(), {"memory": 10.0}, tmp_path, monkeypatch, *parts, "--minutes", f"{215 / 60}")
    assert given == pytest.approx({"memory": 75.0, "server": 205 * 100 / 140, "profile": 205 * 40 / 140})


def test_a_part_that_takes_too_long_costs_the_last_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = run_with(Clock(), {"texts": 680.0}, tmp_path, monkeypatch)
    assert list(given) == ["start", "texts"]
    left_out = [line["text"] for line in read_lines(tmp_path / "cuda.jsonl") if "Left out" in line["text"]]
    assert left_out[-1] == "Left out for lack of time: the part 'profile'."
    assert len(left_out) == len(PARTS) - 2


def test_a_part_whose_time_is_up_is_ended_with_its_children() -> None:
    command = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (child,) = psutil.Process(process.pid).children()
        end_with_children(process.pid)
        process.wait(10)
        limit = time.monotonic() + 10
        while not has_ended(child):  # it was killed, but may not have got so far
            assert time.monotonic() < limit
            time.sleep(0.01)


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_part_that_does_not_end_is_ended(tmp_path: Path) -> None:
    assert run_part("texts", 0.5, options_for(tmp_path)) == " and was ended then, because its time was up"


def test_a_part_that_fails_is_said_to_have_failed(tmp_path: Path) -> None:
    how = run_part("no-such-part", 60.0, options_for(tmp_path))
    assert how == " and failed with exit code 2: cuda_all.py: error: there are no such parts: no-such-part"


# --- what is reported ------------------------------------------------------------------------------------------------


def test_rows_are_kept_as_they_come_and_make_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("speed", tmp_path / "cuda.jsonl")
    report.row("Speed", {"": "turbo", "tasks": 64, "× real time": 5012.34})
    report.row("Speed", {"": "turbo", "tasks": 1, "× real time": None})
    report.left_out("32 tasks")
    lines = read_lines(tmp_path / "cuda.jsonl")
    assert lines[0] == {
        "part": "speed", "title": "Speed", "row": {"": "turbo", "tasks": 64, "× real time": 5012.34}
    }  # fmt: skip
    table = "|  | tasks | × real time |\n| --- | ---: | ---: |\n| turbo | 64 | 5,012 |\n| turbo | 1 | – |"
    text = f"#### Speed\n\n{table}\n\nLeft out for lack of time: 32 tasks."
    assert as_document(lines) == text
    assert capsys.readouterr().out.strip() == text


@pytest.mark.parametrize(
    ("cell", "expected"),
    [(5012.3, "5,012"), (99.94, "99.9"), (4.123, "4.12"), (0.01234, "0.0123"), (0.0, "0"), (12345, "12,345"),
     (-8.86, "-8.86"), (None, "–"), ("turbo", "turbo")],
)  # fmt: skip
def test_figures_have_three_digits(cell: Any, expected: str) -> None:
    assert shown(cell) == expected


def test_results_are_published_between_the_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("before\n<!-- cuda:begin -->\nold\n<!-- cuda:end -->\nafter\n")
    monkeypatch.setattr(cuda_all, "DOCUMENT", document)
    Report("start", tmp_path / "cuda.jsonl").text("An H200.")
    publish(tmp_path)
    assert "An H200.\n<!-- cuda:end -->\nafter" in document.read_text()
    assert "old" not in document.read_text()


def test_only_the_recordings_that_are_meant_are_compared() -> None:
    recordings = [Recording(name, Path(name), Path(name), 60.0, "en", "red cat", (name,)) for name in ("a", "b", "c")]
    ours = Measurement(2.0, {name: Text("red cat", ((0.0, 1.0, "red cat"),)) for name in "abc"}, 0, fallbacks=1)
    theirs = Measurement(9.0, {**ours.texts, "c": Text("red bat", ((0.0, 1.0, "red bat"),))}, 0)
    assert compared(recordings[:2], ours, theirs)["texts that differ"] == 0
    assert compared(recordings[1:], ours, theirs) == {
        "recordings": 2, "segments equal, %": 50, "texts that differ": 1, "WER": 0.0, "WER beside": 0.25,
        "fell back": 1, "s": 2.0, "s beside": 9.0,
    }  # fmt: skip


@pytest.mark.parametrize(("model", "weights", "window"), [("large-v3", 1601e6, 246e6), ("turbo", 316e6, 31e6)])
def test_a_step_reads_its_weights_and_the_sound_of_its_windows(model: str, weights: float, window: float) -> None:
    """As docs/engine-notes.md counts them."""
    dims = model_info(model).dimensions
    assert step_bytes(dims, 0) == pytest.approx(weights, rel=0.05)
    assert step_bytes(dims, 64) - step_bytes(dims, 0) == pytest.approx(64 * window, rel=0.01)


def test_noise_is_made_once_and_used_again(tmp_path: Path) -> None:
    sounds = noises(tmp_path, 10, 1)
    assert len({sound.name for sound in sounds}) == 10
    assert len(list(tmp_path.iterdir())) == 8
    assert sounds[0] == Sound("0-1", str(tmp_path / "noise-1-0.pcm"))
