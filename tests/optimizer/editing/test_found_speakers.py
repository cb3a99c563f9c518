"""Who speaks, as it was found, becomes a step in the right transcript: at once, or when something came in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from errors import DatabaseDamagedError, DiskFullError, StoreBusyError, TaskNotFoundError
from optimizer.editing.found_speakers import FoundSpeakers
from optimizer.tasks.speakers_key import speakers_key, told_task
from optimizer.tasks.task import Task, TaskOptions
from optimizer.views.transcripts import TranscriptViews
from tests.optimizer.editing.conftest import ORIGINAL, Desk, RunDesk
from whisper_core.editing.edits import NameSpeaker
from whisper_core.text.transcript import Transcript
from whisper_core.text.turns import Turn

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

TURNS = (Turn(0, 4, 0), Turn(4, 12, 1))
WANTED = TaskOptions(model="base", speakers=True)
EMPTY = Transcript("", "en", (), turns=TURNS)


def found_by(desk: Desk) -> FoundSpeakers:
    def delete(task_id: str, owner: str) -> None:
        desk.files.delete(task_id)
        desk.queue.manager.delete(task_id)

    return FoundSpeakers(desk.queue.store, desk.files, desk.editor, delete)


def views_of(desk: Desk) -> TranscriptViews:
    return TranscriptViews(desk.queue.manager, desk.files, None, desk.editor)  # type: ignore[arg-type]


def add_told(desk: Desk, task_id: str = "a", transcript: Transcript = ORIGINAL) -> Task:
    return desk.add_completed(task_id, replace(transcript, turns=TURNS), options=WANTED)


def add_about(desk: Desk, task_id: str, about: str, transcript: Transcript = EMPTY) -> Task:
    return desk.add_completed(task_id, transcript, options=WANTED, idempotency_key=speakers_key(about, None))


def speakers(desk: Desk, task_id: str = "a") -> list[str | None]:
    return [segment.speaker for segment in views_of(desk).transcript(task_id)[0].segments]


def test_the_speakers_of_a_task_are_a_step_and_the_original_stays(desk: Desk) -> None:
    found_by(desk).on_completed(add_told(desk))
    assert [step.kind for step in desk.editor.steps("a", 10)] == ["diarize"]
    assert speakers(desk) == ["S1", "S2", "S2"]
    original, _ = views_of(desk).transcript("a", is_original=True)
    assert (original.segments, original.speakers) == (ORIGINAL.segments, None)


def test_a_task_that_wanted_none_or_got_none_has_no_step(desk: Desk) -> None:
    found = found_by(desk)
    found.on_completed(desk.add_completed("a"))
    found.on_completed(desk.add_completed("b", ORIGINAL, options=WANTED))
    assert desk.editor.steps("a", 10) == desk.editor.steps("b", 10) == []


def test_whoever_reads_first_notes_what_a_kill_came_before(desk: Desk) -> None:
    add_told(desk)
    assert speakers(desk) == ["S1", "S2", "S2"]
    assert len(desk.editor.steps("a", 10)) == 1
    desk.editor.undo("a", 1, "")
    assert speakers(desk) == [None] * 3
    assert len(desk.editor.steps("a", 10)) == 2


@pytest.mark.parametrize("error", [StoreBusyError, DiskFullError, DatabaseDamagedError])
def test_they_are_shown_although_they_cannot_be_noted_now(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def busy(*_: object) -> None:
        raise error

    task = add_told(desk)
    monkeypatch.setattr(desk.editor, "assign_speakers", busy)
    found_by(desk).on_completed(task)
    assert speakers(desk) == ["S1", "S2", "S2"]
    assert desk.editor.steps("a", 10) == []


def test_what_another_task_found_goes_to_the_one_that_it_is_about(desk: Desk) -> None:
    found = found_by(desk)
    found.on_completed(add_told(desk))
    desk.editor.edit("a", 1, [NameSpeaker("S2", "Bob")], "alice")
    three = replace(EMPTY, turns=(Turn(0, 4, 0), Turn(4, 8, 1), Turn(8, 12, 2)))
    found.on_completed(add_about(desk, "b", about="a", transcript=three))
    assert speakers(desk) == ["S1", "S2", "S3"]
    assert views_of(desk).transcript("a")[0].speakers == {"S1": None, "S2": "Bob", "S3": None}
    with pytest.raises(TaskNotFoundError):
        desk.queue.manager.get("b")
    assert not desk.files.transcript_path("b").exists()


def test_a_task_whose_speakers_could_not_be_told_stays_to_say_why(desk: Desk) -> None:
    desk.add_completed()
    found_by(desk).on_completed(add_about(desk, "b", about="a", transcript=replace(EMPTY, turns=None)))
    assert desk.queue.manager.get("b").id == "b"
    assert speakers(desk) == [None] * 3


def test_a_task_about_a_deleted_one_goes_too(desk: Desk) -> None:
    found_by(desk).on_completed(add_about(desk, "b", about="gone"))
    with pytest.raises(TaskNotFoundError):
        desk.queue.manager.get("b")


def test_a_start_goes_on_where_a_kill_came_between(run_desk: RunDesk) -> None:
    desk = run_desk()
    desk.add_completed()
    add_about(desk, "b", about="a")
    add_told(desk, "c")
    desk = run_desk()
    found_by(desk).resume()
    assert speakers(desk) == ["S1", "S2", "S2"]
    with pytest.raises(TaskNotFoundError):
        desk.queue.manager.get("b")
    assert desk.queue.manager.get("c").id == "c"


def test_the_key_says_which_task_it_is_about() -> None:
    assert told_task(speakers_key("01ABC", 3)) == told_task(speakers_key("01ABC", None)) == "01ABC"
    assert speakers_key("01ABC", 3) != speakers_key("01ABC", None)
    assert told_task(None) is told_task("speakers") is told_task("my-key") is None
