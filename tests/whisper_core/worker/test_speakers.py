"""Telling speakers apart beside a worker's engine: the text waits for it, nothing else does, and no text is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.whisper_core.worker.pipe import ENDLESS, PARALLEL, SCRIPTED, Server, ends, task, until_ended
from whisper_core.text.turns import Turn
from whisper_core.worker import messages as protocol
from whisper_core.worker import speaker_desk
from whisper_core.worker.messages import LoadModel, RunTask, Shutdown, StopTask, TellSpeakers

HOLD = "speakers_hold"
BY_TWO = (Turn(0.0, 30.0, 0), Turn(30.0, 60.0, 1), Turn(60.0, 90.0, 0))


def spoken(path: Path, prompt: str | None = None, number: int = 1, num_speakers: int | None = None) -> RunTask:
    wanted = TellSpeakers(str(path.parent), "local", num_speakers)
    return replace(task(path, prompt, number), speakers=wanted)


@pytest.fixture(autouse=True)
def frequent_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaker_desk, "PROGRESS_S", 0.02)


@pytest.fixture
def server(start: Callable[..., Server], tmp_path: Path) -> Server:
    server = start(PARALLEL)
    server.send(LoadModel("tiny", str(tmp_path)))
    return server


def until_looking_for(server: Server, task_id: str) -> protocol.SpeakersProgress:
    while (report := server.wait_for(protocol.SpeakersProgress)).task_id != task_id:
        pass
    return report


@pytest.mark.parametrize("engine", [SCRIPTED, PARALLEL], ids=["one task at a time", "several"])
def test_a_text_comes_with_its_turns(start: Callable[..., Server], audio: Path, tmp_path: Path, engine: str) -> None:
    server = start(engine)
    server.send(LoadModel("tiny", str(tmp_path)), spoken(audio), spoken(audio, number=2, num_speakers=1))
    done = {report.task_id: report for report in (server.wait_for(protocol.TaskDone) for _ in range(2))}
    assert done["task-1"].transcript.turns == BY_TWO
    assert {turn.speaker for turn in done["task-2"].transcript.turns or ()} == {0}
    assert done["task-1"].transcript.text == done["task-2"].transcript.text != ""


def test_a_task_that_wants_none_has_none(server: Server, audio: Path) -> None:
    server.send(task(audio))
    assert server.wait_for(protocol.TaskDone).transcript.turns is None


def test_windows_of_other_tasks_go_on_while_speakers_are_told_apart(server: Server, audio: Path) -> None:
    server.send(spoken(audio, HOLD))
    assert until_looking_for(server, "task-1").attempt_id == "attempt-1"
    server.send(task(audio, number=2))
    assert until_ended(server, 1) == {"task-2": "TaskDone"}


def test_whoever_waits_for_the_speakers_of_another_is_still_there(server: Server, audio: Path) -> None:
    server.send(spoken(audio, HOLD), spoken(audio, number=2))
    assert until_looking_for(server, "task-2").progress == 0.0
    server.send(StopTask("task-1", "attempt-1"))
    assert until_ended(server, 2) == {"task-1": "TaskStopped", "task-2": "TaskDone"}


def test_a_task_that_waits_makes_way_at_once_and_one_at_work_goes_on(
    server: Server, audio: Path, tmp_path: Path
) -> None:
    released = tmp_path / "released"
    server.send(spoken(audio, f"speakers_hold_until={released}"), spoken(audio, number=2))
    until_looking_for(server, "task-2")
    server.send(*(StopTask(f"task-{number}", f"attempt-{number}", at_window=True) for number in (1, 2)))
    assert until_ended(server, 1) == {"task-2": "TaskStopped"}
    released.touch()
    assert until_ended(server, 1) == {"task-1": "TaskDone"}


@pytest.mark.parametrize("code", ["model_unavailable", "out_of_memory"])
def test_a_failure_keeps_the_text_and_says_why(server: Server, audio: Path, code: str) -> None:
    server.send(spoken(audio, f"speakers_fail={code}"), spoken(audio, number=2))
    failed, done = (server.wait_for(protocol.TaskDone) for _ in range(2))
    assert (failed.transcript.turns, failed.transcript.text != "") == (None, True)
    assert failed.speakers_problem.endswith(".")
    assert (done.transcript.turns, done.speakers_problem) == (BY_TWO, "")


def test_a_task_that_fails_has_no_speakers(server: Server, audio: Path) -> None:
    server.send(spoken(audio, "fail=engine_error"))
    assert until_ended(server, 1) == {"task-1": "TaskFailed"}


def test_a_shutdown_answers_every_task(server: Server, audio: Path) -> None:
    server.send(*(spoken(audio, HOLD, number) for number in (1, 2)), task(audio, ENDLESS, 3))
    until_looking_for(server, "task-2")
    server.send(Shutdown())
    assert ends(server.remaining()) == {f"task-{number}": "TaskStopped" for number in (1, 2, 3)}
