"""What a soak takes for a broken promise."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load.sounds import wav
from benchmarks.soak.outcome import num_charged, num_uploads_without_task, stray_files
from benchmarks.soak.record import Accepted, Found, TaskRecord, Wish, differences
from benchmarks.soak.resources import Held, count_temporary, growth
from benchmarks.soak.samples import noop_text
from tests.fake_engine import BYTES_PER_FRAME, WINDOW_FRAMES

KEPT = Found("completed", "text", times_completed=1)
HELD = Held(
    descriptors=50, threads=40, resident_bytes=100_000_000, processes=3, temporary_files=0, unfinished_uploads=0
)


def test_a_task_that_is_completed_once_with_its_text_is_right() -> None:
    assert differences([Accepted("a", "text")], {"a": KEPT}) == []


@pytest.mark.parametrize(
    ("wish", "found", "word"),
    [
        (Wish.COMPLETE, None, "lost"),
        (Wish.COMPLETE, replace(KEPT, text="other"), "another text"),
        (Wish.COMPLETE, replace(KEPT, times_completed=2), "2 times"),
        (Wish.COMPLETE, Found("failed"), "is failed"),
        (Wish.COMPLETE, Found("cancelled"), "nobody asked for"),
        (Wish.CANCEL, KEPT, "was cancelled and is completed"),
        (Wish.DELETE, KEPT, "was deleted"),
    ],
)
def test_what_differs_is_told(wish: Wish, found: Found | None, word: str) -> None:
    (told,) = differences([Accepted("a", "text", wish, wish)], {"a": found} if found else {})
    assert word in told


def test_a_task_that_nobody_was_answered_for_is_told() -> None:
    assert differences([], {"a": KEPT}) == ["a was never accepted"]


def test_a_task_that_is_being_changed_is_not_chosen_by_anybody_else() -> None:
    record = TaskRecord()
    record.accept("a", "text")
    record.accept("a", "text")
    assert record.take(lambda tasks: tasks[0]) == Accepted("a", "text")
    assert record.take(lambda tasks: tasks[0]) is None
    record.change("a", Wish.CANCEL)
    assert record.choose(lambda tasks: tasks[0]) == Accepted("a", "text", Wish.CANCEL, Wish.CANCEL)
    record.change("a", Wish.DELETE)
    assert record.choose(lambda tasks: tasks[0]) is None
    assert [task.wish for task in record.tasks()] == [Wish.DELETE]


def test_growth_is_what_exceeds_what_a_pool_or_a_cache_may_take() -> None:
    assert growth(HELD, HELD) == []
    assert growth(HELD, replace(HELD, unfinished_uploads=9)) == []
    grown = replace(HELD, descriptors=500, threads=500, resident_bytes=900_000_000, processes=9, temporary_files=9)
    assert len(growth(HELD, grown)) == 5


def test_temporary_files_are_found_in_both_places(tmp_path: Path) -> None:
    data, temporary = tmp_path / "data", tmp_path / "temporary"
    (data / "audio").mkdir(parents=True)
    (temporary / "sandbox-1").mkdir(parents=True)
    (data / "audio" / "a.pcm.tmp").touch()
    assert count_temporary(data, temporary) == 2


def test_the_expected_text_is_the_engine_s_window_by_window() -> None:
    samples = bytes(WINDOW_FRAMES * BYTES_PER_FRAME) + b"\1" * BYTES_PER_FRAME
    assert len(noop_text(samples).split()) == 2
    assert noop_text(wav(samples)[44:]) == noop_text(samples)


def test_files_without_a_task_and_tasks_without_a_file_are_told(tmp_path: Path) -> None:
    for name in ("transcripts/a.json", "media/a", "media/stray", "audio/a.pcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {"a": KEPT, "b": KEPT, "c": Found("cancelled")}
    assert len(stray_files(tmp_path, found)) == 2
    assert num_uploads_without_task(tmp_path, found) == 1


def test_attempts_beyond_the_successful_one_are_charged_unless_they_were_free(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tasks.db") as database:
        database.execute("CREATE TABLE tasks (status TEXT, attempt INTEGER, uncharged INTEGER)")
        rows = [("completed", 1, 0), ("completed", 3, 2), ("completed", 3, 1), ("failed", 9, 0)]
        database.executemany("INSERT INTO tasks VALUES (?, ?, ?)", rows)
    database.close()
    assert num_charged(tmp_path) == 1
