"""What people change is kept, step by step: over restarts and kills, by several at once, and until the task is gone."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from errors import BadRecordError, ConflictError, EditConflictError, FileMissingError, TaskNotFoundError
from optimizer.common import failpoints
from optimizer.editing import transcript_editor
from optimizer.tasks.events import TranscriptEdited
from optimizer.tasks.task import TaskFilter
from tests.optimizer.editing.conftest import ORIGINAL, Desk, RunDesk
from tests.optimizer.fakes import FakeClock
from tests.optimizer.faults import NthHit, kill_process
from tests.optimizer.queue.helpers import at_once, running_queue
from tests.optimizer.storage.helpers import edit as change_rows
from tests.paths import ROOT
from whisper_core.editing.edits import Delete, NameSpeaker, SetSpeaker, SetText, Shift, Split
from whisper_core.text.speaker_words import assign_speakers
from whisper_core.text.turns import Turn


def rows_of(data_dir: Path, table: str) -> int:
    with closing(sqlite3.connect(data_dir / "tasks.db")) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


def test_a_step_is_a_row_with_author_and_time_and_is_told(desk: Desk) -> None:
    desk.add_completed()
    desk.clock.advance(60)
    edited = desk.editor.edit("a", 0, [SetText(0, "Hullo."), Shift(1)], "alice")
    (step,) = desk.editor.steps("a", 10)
    assert (step.number, step.author, step.kind) == (1, "alice", "several")
    assert step.at - desk.queue.manager.get("a").created_at == timedelta(seconds=60)
    assert desk.told == [TranscriptEdited("a", 1, "alice")]
    assert edited.after.transcript() == desk.editor.edited(desk.queue.manager.get("a"))


def test_the_original_s_file_is_never_written_to(desk: Desk) -> None:
    task = desk.add_completed()
    before = desk.files.transcript_path("a").read_bytes()
    desk.editor.edit("a", 0, [SetText(0, "Hullo."), Delete((1,))], "")
    desk.editor.undo("a", 1, "")
    assert desk.files.transcript_path("a").read_bytes() == before
    assert desk.files.read_transcript("a", task.result_sha256) == ORIGINAL


def test_a_step_that_changes_nothing_is_none(desk: Desk) -> None:
    desk.add_completed()
    assert desk.editor.edited(desk.queue.manager.get("a")) is None
    edited = desk.editor.edit("a", 0, [SetText(0, " Hello teh world. "), SetText(1, "How are you?")], "")
    assert (edited.after.version, desk.told, desk.editor.steps("a", 10)) == (0, [], [])


def test_undo_and_redo_work_over_restarts(run_desk: RunDesk) -> None:
    desk = run_desk()
    desk.add_completed()
    desk.editor.edit("a", 0, [Split(0, 6), SetSpeaker((1,), "S1"), NameSpeaker("S1", "Ann")], "")
    desk.editor.edit("a", 1, [SetText(3, "there.")], "")
    desk.editor.edit("a", 2, [Delete((2,))], "")
    texts = [ORIGINAL.text, " Hello teh world. How are you? I am fine.", " Hello there. How are you? I am fine."]
    for version, expected in zip((3, 4, 5), reversed(texts), strict=True):
        desk = run_desk()
        assert desk.editor.undo("a", version, "").after.version == version + 1
        assert desk.text() == expected
    assert desk.editor.history("a").transcript().segments == ORIGINAL.segments
    with pytest.raises(ConflictError, match="nothing to undo"):
        desk.editor.undo("a", 6, "")
    for version in (6, 7, 8):
        desk = run_desk()
        desk.editor.redo("a", version, "")
    assert desk.text() == " Hello there. How are you?"
    assert desk.editor.history("a").text.speakers == {"S1": "Ann"}
    with pytest.raises(ConflictError, match="nothing to do again"):
        desk.editor.redo("a", 9, "")


def test_undoing_an_older_text_tells_what_was_changed_since(desk: Desk) -> None:
    desk.add_completed()
    desk.editor.edit("a", 0, [SetSpeaker((0,), "S1"), NameSpeaker("S1", "Ann")], "")
    desk.editor.edit("a", 1, [SetText(2, "Fine.")], "")
    for base, segments, speakers in ((0, [0, 2], {"S1": "Ann"}), (1, [2], {})):
        with pytest.raises(EditConflictError) as refused:
            desk.editor.undo("a", base, "")
        present = refused.value.present
        assert ([each["id"] for each in present["segments"]], present["speakers"]) == (segments, speakers)


def test_what_was_just_done_is_undone_and_done_again_without_making_the_text_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.add_completed()
    for version in range(3):
        desk.editor.edit("a", version, [SetText(version, "New."), Split(0, 2) if version == 1 else Shift(1)], "")
    edited = desk.text()
    monkeypatch.setattr(transcript_editor, "text_of", None)
    for version in (3, 4, 5):
        desk.editor.undo("a", version, "")
    assert desk.editor.history("a").transcript().segments == ORIGINAL.segments
    for version in (6, 7, 8):
        desk.editor.redo("a", version, "")
    assert desk.text() == edited


def test_an_id_is_never_given_twice(desk: Desk) -> None:
    desk.add_completed()
    assert desk.editor.edit("a", 0, [Split(0, 6, -1)], "").made == {-1: 3}
    desk.editor.undo("a", 1, "")
    assert desk.editor.edit("a", 2, [Split(1, 4, -1)], "").made == {-1: 4}


def test_the_search_finds_what_is_written_now(desk: Desk) -> None:
    desk.add_completed()

    def found(query: str) -> list[str]:
        return [task.id for task in desk.queue.manager.page(TaskFilter(query=query)).tasks]

    desk.editor.edit("a", 0, [SetText(0, "Grüße.")], "")
    assert (found("grüße"), found("world"), found("interview")) == (["a"], [], ["a"])
    desk.editor.undo("a", 1, "")
    assert (found("grüße"), found("world")) == ([], ["a"])


def test_of_two_who_change_the_same_at_once_one_gets_a_conflict_and_of_two_places_both_are_kept(desk: Desk) -> None:
    for number in range(5):
        task_id = f"t{number}"
        desk.add_completed(task_id)
        outcomes = at_once(
            lambda t=task_id: desk.editor.edit(t, 0, [SetText(0, "Mine.")], "alice"),  # type: ignore[misc]
            lambda t=task_id: desk.editor.edit(t, 0, [SetText(0, "Yours.")], "bob"),  # type: ignore[misc]
            lambda t=task_id: desk.editor.edit(t, 0, [SetText(2, "Elsewhere.")], "carol"),  # type: ignore[misc]
        )
        assert sum(isinstance(each, EditConflictError) for each in outcomes) == 1
        assert desk.text(task_id) in (
            " Mine. How are you? Elsewhere.", " Yours. How are you? Elsewhere.",
        )  # fmt: skip
        assert [step.number for step in desk.editor.steps(task_id, 10)] == [2, 1]


def test_what_was_found_of_speakers_is_a_step_of_the_server_s_that_can_be_undone(desk: Desk) -> None:
    desk.add_completed()
    desk.editor.edit("a", 0, [SetText(0, "Hello the world.")], "alice")
    turns = [Turn(0, 8, 0), Turn(8, 12, 1)]
    found = desk.editor.assign_speakers("a", lambda segments: assign_speakers(segments, turns))
    assert [each.speaker for each in found.after.text.segments] == ["S1", "S1", "S2"]
    assert [(step.author, step.kind) for step in desk.editor.steps("a", 1)] == [("", "diarize")]
    again = desk.editor.assign_speakers("a", lambda segments: assign_speakers(segments, turns))
    assert again.after.version == 2
    undone = desk.editor.undo("a", 2, "bob").after
    assert [each.speaker for each in undone.text.segments] == [None] * 3
    assert undone.text.segments[0].text == " Hello the world."


def test_a_damaged_snapshot_is_made_again_from_the_steps(run_desk: RunDesk, tmp_path: Path) -> None:
    desk = run_desk()
    desk.add_completed()
    desk.editor.edit("a", 0, [Split(0, 6), SetText(1, "Well.")], "")
    desk.editor.edit("a", 1, [SetText(2, "Fine.")], "")
    desk.editor.undo("a", 2, "")
    before = desk.editor.history("a")
    change_rows(tmp_path, "UPDATE edited_transcripts SET content = 'nonsense'")
    after = run_desk().editor.history("a")
    assert (after.text, after.version, after.done, after.undone) == (before.text, 3, (1,), (2,))
    change_rows(tmp_path, "UPDATE transcript_edits SET data = '{}' WHERE number = 1")
    with pytest.raises(BadRecordError):
        run_desk().editor.history("a")


def test_only_what_differs_from_the_original_is_written_at_each_step(desk: Desk, tmp_path: Path) -> None:
    desk.add_completed()
    desk.editor.edit("a", 0, [SetText(1, "Well.")], "")
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as connection:
        (content,) = connection.execute("SELECT content FROM edited_transcripts").fetchone()
    segments = json.loads(content)["segments"]
    assert (segments[0], segments[1]["text"], segments[2]) == (0, " Well.", 2)


def test_no_task_has_more_steps_than_it_may(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add_completed()
    monkeypatch.setattr(transcript_editor, "MAX_STEPS", 1)
    desk.editor.edit("a", 0, [SetText(1, "Well.")], "")
    with pytest.raises(ConflictError, match="as often as one can be"):
        desk.editor.edit("a", 1, [SetText(1, "Well, well.")], "")
    monkeypatch.undo()
    monkeypatch.setattr(transcript_editor, "MAX_DATA_BYTES", 10)
    with pytest.raises(ConflictError, match="as often as one can be"):
        desk.editor.undo("a", 1, "")


def test_nothing_is_left_of_a_deleted_task(desk: Desk, tmp_path: Path) -> None:
    desk.add_completed()
    desk.editor.edit("a", 0, [SetText(1, "Salaries.")], "alice")
    desk.queue.manager.delete("a")
    assert (rows_of(tmp_path, "transcript_edits"), rows_of(tmp_path, "edited_transcripts")) == (0, 0)
    assert b"Salaries" not in (tmp_path / "tasks.db").read_bytes()
    with pytest.raises(TaskNotFoundError):
        desk.editor.history("a")


def test_without_the_original_nothing_can_be_changed(desk: Desk) -> None:
    desk.add_completed()
    desk.files.transcript_path("a").unlink()
    with pytest.raises(FileMissingError):
        desk.editor.edit("a", 0, [SetText(1, "Well.")], "")


def test_a_kill_at_any_step_leaves_the_edit_whole_or_not_at_all(run_desk: RunDesk, tmp_path: Path) -> None:
    desk = run_desk()
    desk.add_completed()
    desk.queue.store.close()
    done = subprocess.run(
        [sys.executable, "-m", "tests.optimizer.editing.test_transcript_editor", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 3


def be_killed_at_every_step(data_dir: Path) -> int:
    """In a process of its own, which can be forked. Returns how many steps there are."""
    version = 0
    for step in itertools.count(1):
        if (child := os.fork()) == 0:
            try:
                edit_until_killed(data_dir, version, step)
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -9), code
        version = check_after_kill(data_dir, version)
        if code == 0:
            assert version >= 1
            return step
    raise AssertionError


def edit_until_killed(data_dir: Path, version: int, step: int) -> None:
    with running_queue(data_dir, FakeClock()) as queue:
        desk = Desk(queue, data_dir, FakeClock())
        failpoints.arm(NthHit(step, kill_process).everywhere())
        desk.editor.edit("a", version, [SetText(1, f"Step {version + 1}.")], "")
        failpoints.disarm()


def check_after_kill(data_dir: Path, version: int) -> int:
    """What was there before, or the edit as well: its row, the text and what is searched. Returns the version."""
    with running_queue(data_dir, FakeClock()) as queue:
        desk = Desk(queue, data_dir, FakeClock())
        history = desk.editor.history("a")
        assert history.version in (version, version + 1)
        assert history.version == len(desk.editor.steps("a", 100))
        text = f"Step {history.version}." if history.version else "How are you?"
        assert history.text.segments[1].text == f" {text}"
        assert [task.id for task in queue.manager.page(TaskFilter(query=text)).tasks] == ["a"]
        return history.version


if __name__ == "__main__":
    print(be_killed_at_every_step(Path(sys.argv[1])))
