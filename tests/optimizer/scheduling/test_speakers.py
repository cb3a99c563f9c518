"""A task whose speakers are wanted: what the worker is told, what is shown meanwhile, and what is kept of it."""

from __future__ import annotations

import pytest

from optimizer.tasks.events import TaskChanged
from optimizer.tasks.task import TaskOptions, TaskStatus
from optimizer.views.rendering import warnings_of
from tests.optimizer.queue.helpers import window
from tests.optimizer.scheduling.rig import Rig
from whisper_core.speakers.memory import memory_needed
from whisper_core.text.transcript import Transcript
from whisper_core.text.turns import Turn
from whisper_core.worker import messages as protocol

pytestmark = pytest.mark.usefixtures("short_pauses")

WANTED = TaskOptions(model="base", speakers=True, num_speakers=2)
TURNS = (Turn(0.0, 1.0, 0), Turn(1.0, 2.5, 1))


def answer(run: protocol.RunTask, turns: tuple[Turn, ...] | None, problem: str = "") -> protocol.TaskDone:
    transcript = Transcript(" Hello.", "en", window(0).segments, turns=turns)
    return protocol.TaskDone(run.task_id, run.attempt_id, transcript, 1000, 1.0, problem)


def finish_text(rig: Rig, run: protocol.RunTask) -> None:
    rig.worker().report(protocol.WindowDone(run.task_id, run.attempt_id, window(run.first_window, of=1)))


def die_and_run_again(rig: Rig) -> protocol.RunTask:
    rig.worker().on_exit()
    rig.settle()
    rig.clock.advance(60)  # the delay of an attempt that was charged, and the pause of a worker that died again
    rig.scheduler.wake()
    rig.settle()
    rig.worker().ready()
    rig.worker().expect(protocol.LoadModel)
    return rig.worker().expect(protocol.RunTask)


def test_the_worker_is_told_and_memory_is_promised_for_it(rig: Rig) -> None:
    plain = rig.start_task("T1")
    run = rig.start_task("T2", options=WANTED)
    assert plain.speakers is None
    assert run.speakers == protocol.TellSpeakers("models", "local", 2)
    reserved = {task_id: running.reservation.nbytes for task_id, running in rig.device().running.items()}
    assert reserved["T2"] - reserved["T1"] == memory_needed(60.0)


def test_what_was_found_is_kept_with_the_text_and_the_memory_given_back(rig: Rig) -> None:
    run = rig.start_task("T1", options=WANTED)
    rig.worker().report(answer(run, TURNS))
    task = rig.queue.get("T1")
    assert (task.status, task.speakers_problem, warnings_of(task)) == (TaskStatus.COMPLETED, None, ())
    kept = rig.files.read_transcript("T1", task.result_sha256)
    assert (kept.turns, kept.speakers, kept.text) == (TURNS, None, " Hello.")
    rig.settle()
    assert rig.owners() == {"model:base"}


def test_a_task_is_completed_although_it_is_not_known_who_speaks(rig: Rig) -> None:
    run = rig.start_task("T1", options=WANTED)
    rig.worker().report(answer(run, None, "The weights are not here."))
    task = rig.queue.get("T1")
    assert (task.status, task.error) == (TaskStatus.COMPLETED, None)
    assert warnings_of(task) == ("It is not known who speaks. The weights are not here.",)
    assert rig.files.read_transcript("T1", task.result_sha256).text == " Hello."
    told = [event for event in rig.queue.timeline("T1") if event.code == "speakers"]
    assert [event.text for event in told] == [
        "It is not known who speaks. The weights are not here. The text is not affected."
    ]


def test_progress_is_shown_and_keeps_the_worker_from_counting_as_hung(rig: Rig) -> None:
    run = rig.start_task("T1", options=WANTED)
    finish_text(rig, run)
    rig.events.clear()
    rig.clock.advance(10_000)
    for share, seconds in ((0.0, 0), (0.25, 20)):
        rig.clock.advance(seconds)
        rig.worker().report(protocol.SpeakersProgress("T1", run.attempt_id, share))
    rig.settle()
    assert TaskChanged("T1") in rig.events
    assert rig.device().running["T1"].last_progress_at == rig.clock.monotonic()
    assert rig.worker().kills == 0
    task = rig.queue.get("T1")
    assert (rig.progress.speakers_of(task), rig.progress.eta_of(task)) == (0.25, 60.0)


def test_speakers_are_looked_for_again_after_a_crash_but_not_for_ever(rig: Rig) -> None:
    """The text was there: a task that nobody but its speakers can have made crash keeps it."""
    run = rig.start_task("T1", options=WANTED, max_attempts=3)
    finish_text(rig, run)
    tries = []
    while run.speakers is not None:
        run = die_and_run_again(rig)
        tries.append(run)
    assert 2 <= len(tries) <= 3
    assert all(each.resume is not None and each.resume.is_at_end for each in tries)
    rig.worker().report(answer(run, None))
    task = rig.queue.get("T1")
    assert task.status is TaskStatus.COMPLETED
    assert "ended each time" in warnings_of(task)[0]


def test_nothing_is_learned_of_memory_beside_a_task_with_speakers(rig: Rig) -> None:
    rig.start_task("T1", options=WANTED)
    rig.worker().finish(rig.start_task("T2"))
    task = rig.queue.get("T2")
    assert (task.predicted_bytes, task.reserved_bytes, task.measured_bytes) == (None, None, 1000)


def test_a_task_with_speakers_is_not_plain() -> None:
    assert not WANTED.is_plain
    assert TaskOptions(model="base").is_plain
    assert not hasattr(WANTED.transcribe, "speakers")
