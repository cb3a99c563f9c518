"""A transcript that somebody changes in a running system: what is shown, searched, kept over a restart, and deleted."""

from __future__ import annotations

from pathlib import Path

from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.events import TaskDeleted, TranscriptEdited
from optimizer.tasks.segments_key import segments_key
from optimizer.tasks.task import TaskFilter, TaskStatus
from tests.paths import SHORT
from tests.system.conftest import Open, Submit, Watcher
from whisper_core.editing.edits import SetText

SECRET = "salaries"


def found(system: OptimizedWhisperSystem, query: str) -> list[str]:
    return [view.task.id for view in system.tasks(TaskFilter(query=query))[0]]


def test_a_changed_text_is_shown_searched_kept_and_deleted(open_system: Open, submit: Submit, tmp_path: Path) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT)
        watcher.wait_for(task_id, TaskStatus.COMPLETED)
        original, _ = system.transcript(task_id)
        system.editor.edit(task_id, 0, [SetText(0, f"Our {SECRET}.")], "alice")
        assert watcher.events[-1] == TranscriptEdited(task_id, 1, "alice")
        assert found(system, SECRET) == [task_id]
    with open_system() as system:
        edited, _ = system.transcript(task_id)
        assert (edited.segments[0].text.strip(), edited.version) == (f"Our {SECRET}.", 1)
        assert system.transcript(task_id, is_original=True) == (original, False)
        assert (system.editor.undo(task_id, 1, "bob").after.transcript().text, found(system, SECRET)) == (
            original.text, [],
        )  # fmt: skip
        system.delete(task_id)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert SECRET.encode() not in kept


def test_segments_that_are_done_again_take_their_place_and_their_task_goes(open_system: Open, submit: Submit) -> None:
    with open_system() as system:
        watcher = Watcher(system)
        task_id = submit(system, SHORT)
        watcher.wait_for(task_id, TaskStatus.COMPLETED)
        again = submit(system, SHORT, model="tiny", key=segments_key(task_id, 0, (0,), "tiny"))
        watcher.wait_until(lambda: TaskDeleted(again, "") in watcher.events, "the end of the other task")
        (step,) = system.editor.steps(task_id, 10)
        assert (step.author, step.kind, step.data["model"]) == ("", "retranscribe", "tiny")
        original, _ = system.transcript(task_id, is_original=True)
        assert system.transcript(task_id)[0].segments[0].id == len(original.segments)
