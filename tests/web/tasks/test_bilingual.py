"""One file with a recording's text and its translation, which are two tasks."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from optimizer.tasks.task import Task
from tests.web.fake_system import FakeSystem
from tests.web.requests import error_of
from whisper_core.audio.tracks import SoundTrack
from whisper_core.text.options import Mode

SOUND = b"fLaC of one recording"


def translation(system: FakeSystem, mode: Mode = "exact", data: bytes = SOUND) -> Task:
    return system.add("again.mp3", data=data, mode=mode, kind="translate")


def original(system: FakeSystem) -> Task:
    task = system.add("talk.mp3", data=SOUND)
    system.complete(task.id, " Guten Morgen.", " Welt.")
    return task


def address(task: Task, other: Task, format: str = "srt") -> str:
    return f"/api/tasks/{task.id}/transcript?format={format}&bilingual={other.id}"


@pytest.mark.parametrize(("mode", "extension"), [("exact", "bilingual.srt"), ("vad", "vad.bilingual.srt")])
def test_it_is_the_same_file_from_either_task(
    client: FlaskClient, system: FakeSystem, mode: Mode, extension: str
) -> None:
    first, second = original(system), translation(system, mode)
    system.complete(second.id, " Good morning.", " World.")
    answers = [client.get(address(first, second)), client.get(address(second, first))]
    assert answers[0].get_data(as_text=True) == (
        "1\n00:00:00,000 --> 00:00:02,000\nGuten Morgen.\nGood morning.\n\n"
        "2\n00:00:02,000 --> 00:00:04,000\nWelt.\nWorld.\n\n"
    )
    assert answers[1].data == answers[0].data
    for answer in answers:
        assert answer.headers["Content-Disposition"] == f"inline; filename=talk.{extension}"


def test_both_must_be_completed(client: FlaskClient, system: FakeSystem) -> None:
    first, second = original(system), translation(system)
    for path in (address(first, second), address(second, first), address(first, second, "json")):
        assert error_of(client.get(path))[:2] == (409, "transcript_not_ready")


def test_what_is_no_pair_is_refused(client: FlaskClient, system: FakeSystem) -> None:
    first, foreign = original(system), translation(system, data=b"fLaC of another")
    system.complete(foreign.id, " World.")
    refused = (422, "invalid_option", "bilingual")
    assert error_of(client.get(address(first, foreign))) == refused
    assert error_of(client.get(address(first, first))) == refused
    assert error_of(client.get(address(first, original(system)))) == refused
    missing = f"/api/tasks/{first.id}/transcript?format=srt&bilingual=nothing"
    assert error_of(client.get(missing))[:2] == (404, "task_not_found")


def test_two_sound_tracks_make_no_pair(client: FlaskClient, system: FakeSystem) -> None:
    first, second = original(system), translation(system)
    system.complete(second.id, " World.")
    for number, task in enumerate((first, second), start=1):
        track = SoundTrack(index=number, stream=number, codec="aac", channels=2, is_chosen=True)
        system._change(task.id, tracks=(track,))
    assert error_of(client.get(address(first, second))) == (422, "invalid_option", "bilingual")


@pytest.mark.parametrize("format", ["json", "txt", "tsv", "whisperx"])
def test_formats_without_room_for_two_texts_are_refused(client: FlaskClient, system: FakeSystem, format: str) -> None:
    first, second = original(system), translation(system)
    system.complete(second.id, " World.")
    assert error_of(client.get(address(first, second, format))) == (422, "invalid_option", "format")


def test_the_list_finds_the_other_tasks_of_a_recording(client: FlaskClient, system: FakeSystem) -> None:
    first, second = original(system), translation(system)
    translation(system, data=b"fLaC of another")
    found = client.get(f"/api/tasks?same_recording_as={first.id}").get_json()["tasks"]
    assert [task["id"] for task in found] == [second.id, first.id]
    assert error_of(client.get("/api/tasks?same_recording_as=nothing"))[:2] == (404, "task_not_found")
    contradiction = client.get(f"/api/tasks?same_recording_as={first.id}&sha256={'0' * 64}")
    assert error_of(contradiction) == (422, "invalid_option", "same_recording_as")
