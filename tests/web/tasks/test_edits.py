"""Changing a transcript over HTTP: what is answered, what is exported, and what is refused."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING, error_of
from whisper_core.text.formats import FORMATS


@pytest.fixture
def task_id(system: FakeSystem) -> str:
    task = system.add("talk.mp3")
    system.complete(task.id, " Hello teh world.", " How are you?", " I am fine.")
    return task.id


class Page:
    """Somebody who changes a text, and knows it in some version."""

    def __init__(self, client: FlaskClient, task_id: str) -> None:
        self._client = client
        self._address = f"/api/tasks/{task_id}/edits"
        self.version = 0

    def edit(self, *edits: dict[str, Any], **more: Any) -> TestResponse:
        return self._send("", {"edits": list(edits), **more})

    def undo(self, **more: Any) -> TestResponse:
        return self._send("/undo", more)

    def redo(self, **more: Any) -> TestResponse:
        return self._send("/redo", more)

    def _send(self, path: str, body: dict[str, Any]) -> TestResponse:
        answer = self._client.post(self._address + path, json={"base": self.version, **body})
        if answer.status_code == 200:
            self.version = answer.get_json()["version"]
        return answer


@pytest.fixture
def page(client: FlaskClient, task_id: str) -> Page:
    return Page(client, task_id)


def set_text(segment: int, text: str) -> dict[str, Any]:
    return {"kind": "set_text", "segment": segment, "text": text}


def test_every_export_takes_the_edited_text_and_the_original_stays(
    client: FlaskClient, page: Page, task_id: str
) -> None:
    address = f"/api/tasks/{task_id}/transcript"
    originals = {name: client.get(f"{address}?format={name}&version=original").data for name in FORMATS}
    assert page.edit(set_text(0, "Hullo the world.")).status_code == 200
    for name in FORMATS:
        assert client.get(f"{address}?format={name}&version=original").data == originals[name] or name == "docx"
        if name != "docx":  # which is compressed
            assert b"Hullo" not in originals[name]
            assert b"Hullo" in client.get(f"{address}?format={name}").data
            assert b"Hullo" in client.get(f"{address}?format={name}&version=edited").data
    body = client.get(address).get_json()
    assert (body["version"], body["edited"], body["text"]) == (1, True, " Hullo the world. How are you? I am fine.")


def test_an_archive_and_a_bilingual_file_take_it_too(
    client: FlaskClient, system: FakeSystem, page: Page, task_id: str
) -> None:
    page.edit(set_text(0, "Hullo."))
    translated = system.add("talk.mp3", kind="translate")
    system.complete(translated.id, " Salut.", " Ça va?", " Oui.")
    both = client.get(f"/api/tasks/{task_id}/transcript?format=srt&bilingual={translated.id}").text
    assert "Hullo." in both
    assert "Salut." in both
    for version, expected in (("edited", b"Hullo."), ("original", b"Hello teh world.")):
        for archive in (
            client.get(f"/api/transcripts.zip?ids={task_id}&version={version}"),
            client.post("/api/transcripts.zip", json={"ids": [task_id], "version": version}),
        ):
            with zipfile.ZipFile(BytesIO(archive.data)) as files:
                assert expected in files.read("talk.txt")


def test_an_untouched_text_is_version_0_and_an_undone_one_is_not_edited(
    client: FlaskClient, page: Page, task_id: str
) -> None:
    address = f"/api/tasks/{task_id}/transcript"
    untouched = client.get(address).get_json()
    assert (untouched.pop("version"), untouched.pop("edited")) == (0, False)
    assert untouched == json.loads(client.get(f"{address}?version=original").data)
    page.edit(set_text(0, "Hullo."))
    page.undo()
    undone = client.get(address).get_json()
    assert (undone.pop("version"), undone.pop("edited")) == (2, False)
    assert undone == untouched


def test_an_answer_has_all_segments_or_those_that_changed(page: Page) -> None:
    whole = page.edit(set_text(0, "Hullo.")).get_json()
    assert [each["id"] for each in whole["segments"]] == [0, 1, 2]
    assert (whole["order"], whole["made"], whole["can_undo"], whole["can_redo"]) == (None, {}, True, False)
    changed = page.edit({"kind": "split", "segment": 1, "at_char": 4, "local": -1}, answer="changes").get_json()
    assert [each["id"] for each in changed["segments"]] == [1, 3]
    assert (changed["order"], changed["made"]) == ([0, 1, 3, 2], {"-1": 3})
    undone = page.undo(answer="changes").get_json()
    assert ([each["id"] for each in undone["segments"]], undone["order"]) == ([1], [0, 1, 2])
    assert undone["can_redo"] is True


def test_what_was_changed_meanwhile_elsewhere_is_no_conflict_and_is_answered(
    client: FlaskClient, page: Page, task_id: str
) -> None:
    other = Page(client, task_id)
    page.edit(set_text(0, "Mine."))
    answer = other.edit(set_text(2, "Yours."), answer="changes").get_json()
    assert [each["text"] for each in answer["segments"]] == [" Mine.", " Yours."]


def test_what_was_changed_meanwhile_itself_is_a_conflict_and_nothing_is_lost(
    client: FlaskClient, page: Page, task_id: str
) -> None:
    other = Page(client, task_id)
    page.edit(set_text(0, "Mine."), {"kind": "delete", "segments": [2]})
    for edits in ([set_text(0, "Yours.")], [set_text(1, "Free."), {"kind": "merge", "segments": [1, 2]}]):
        refused = other.edit(*edits)
        assert error_of(refused) == (409, "edit_conflict", None)
    refused = other.edit(set_text(0, "Yours."), set_text(2, "Yours, too."))
    present = refused.get_json()["present"]
    assert (present["version"], present["gone"], present["speakers"]) == (1, [2], {})
    assert [each["text"] for each in present["segments"]] == [" Mine."]
    assert error_of(other.undo()) == (409, "edit_conflict", None)
    assert client.get(f"/api/tasks/{task_id}/transcript").get_json()["text"] == " Mine. How are you?"


def test_a_call_whose_answer_was_lost_can_be_sent_again(page: Page) -> None:
    edits = [set_text(0, "Mine."), {"kind": "delete", "segments": [2]}]
    page.edit(*edits)
    page.version = 0
    assert page.edit(*edits).get_json()["version"] == 1


def test_steps_are_listed_with_who_made_them_and_what_is_in_force(
    client: FlaskClient, page: Page, task_id: str
) -> None:
    page.edit(set_text(0, "One."))
    page.edit(set_text(1, "Two."), {"kind": "shift", "seconds": 1.5})
    page.undo()
    listed = client.get(f"/api/tasks/{task_id}/edits").get_json()
    assert {name: listed[name] for name in ("version", "edited", "can_undo", "can_redo")} == {
        "version": 3, "edited": True, "can_undo": True, "can_redo": True,
    }  # fmt: skip
    assert [(each["number"], each["kind"], each["undone"]) for each in listed["edits"]] == [
        (3, "undo", False), (2, "several", True), (1, "set_text", False),
    ]  # fmt: skip
    assert listed["edits"][2]["data"] == {"segment": 0, "text": "One."}
    assert listed["edits"][1]["data"]["edits"][1] == {"kind": "shift", "seconds": 1.5}
    first = client.get(f"/api/tasks/{task_id}/edits?limit=2").get_json()
    rest = client.get(f"/api/tasks/{task_id}/edits?limit=2&before={first['next_before']}").get_json()
    assert first["edits"] + rest["edits"] == listed["edits"]
    assert (first["next_before"], rest["next_before"]) == (2, None)


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        ({}, "edits.0.kind"),
        ({"kind": "explode"}, "edits.0.kind"),
        ({"kind": "diarize", "assigned": [], "speakers": []}, "edits.0.kind"),
        ({"kind": "set_text", "segment": 0}, "edits.0.text"),
        ({"kind": "set_text", "segment": "0", "text": ""}, "edits.0.segment"),
        ({"kind": "set_text", "segment": True, "text": ""}, "edits.0.segment"),
        ({"kind": "set_text", "segment": 0, "text": "x" * 10_001}, "edits.0.text"),
        ({"kind": "set_text", "segment": 0, "text": "\ud800"}, "edits.0.text"),
        ({"kind": "set_text", "segment": 0, "text": "", "more": 1}, "edits.0.more"),
        ({"kind": "set_text", "segment": 99, "text": ""}, "edits.0.segment"),
        ({"kind": "set_times", "segment": 0, "start": float("nan"), "end": 1}, "edits.0.start"),
        ({"kind": "set_times", "segment": 0, "start": 2, "end": 1}, "edits.0.end"),
        ({"kind": "split", "segment": 0, "at_char": 400}, "edits.0.at_char"),
        ({"kind": "split", "segment": 0, "at_char": 4, "local": 7}, "edits.0.local"),
        ({"kind": "merge", "segments": []}, "edits.0.segments"),
        ({"kind": "replace", "find": "", "replace": ""}, "edits.0.find"),
        ({"kind": "replace", "find": "x"}, "edits.0.replace"),
        ({"kind": "shift", "seconds": 1e12}, "edits.0.seconds"),
        ({"kind": "set_speaker", "segments": [0], "speaker": "Ann"}, "edits.0.speaker"),
        ({"kind": "merge_speakers", "from": "S1", "into": "S2"}, "edits.0.from"),
    ],
)
def test_a_bad_edit_is_refused_with_its_field_and_changes_nothing(
    client: FlaskClient, page: Page, task_id: str, edit: dict[str, Any], field: str
) -> None:
    assert error_of(page.edit(edit)) == (422, "invalid_option", field)
    assert client.get(f"/api/tasks/{task_id}/edits").get_json()["version"] == 0


def test_what_is_no_list_of_edits_is_refused(client: FlaskClient, page: Page, task_id: str) -> None:
    assert error_of(page.edit())[2] == "edits"
    assert error_of(page.edit(*[set_text(0, "x")] * 201))[2] == "edits"
    assert error_of(page.edit(*[{"kind": "shift", "seconds": 1}] * 11))[2] == "edits"
    assert error_of(page.edit(set_text(0, "x"), base=1)) == (422, "invalid_option", "base")
    assert error_of(page.edit(set_text(0, "x"), base=-1))[2] == "base"
    assert error_of(client.post(f"/api/tasks/{task_id}/edits", data="{"))[0] in (400, 422)
    assert error_of(client.get(f"/api/tasks/{task_id}/transcript?version=7"))[2] == "version"


def test_only_a_completed_text_can_be_changed(client: FlaskClient, system: FakeSystem) -> None:
    for task in (system.add(), system.fail(system.add().id, "poison", "Not tried again.").task):
        page = Page(client, task.id)
        for refused in (page.edit(set_text(0, "x")), page.undo(), client.get(f"/api/tasks/{task.id}/edits")):
            assert error_of(refused)[:2] == (409, "transcript_not_ready")
    assert error_of(Page(client, "nobody").undo())[:2] == (404, "task_not_found")


def test_there_may_be_nothing_to_undo_or_to_do_again(page: Page) -> None:
    assert error_of(page.undo()) == (409, "conflict", None)
    page.edit(set_text(0, "One."))
    assert error_of(page.redo()) == (409, "conflict", None)
    page.undo()
    page.edit(set_text(0, "Two."))
    assert error_of(page.redo()) == (409, "conflict", None)


def test_speakers_are_named_over_http(client: FlaskClient, page: Page, task_id: str) -> None:
    page.edit(
        {"kind": "set_speaker", "segments": [0, 2], "speaker": "S1"},
        {"kind": "set_speaker", "segments": [1], "speaker": "S2"},
        {"kind": "name_speaker", "speaker": "S2", "name": "Ann"},
        {"kind": "merge_speakers", "from": "S2", "into": "S1"},
    )
    body = client.get(f"/api/tasks/{task_id}/transcript").get_json()
    assert body["speakers"] == {"S1": "Ann"}
    assert [each["speaker"] for each in body["segments"]] == ["S1"] * 3


def test_segments_are_done_again_by_a_task_of_their_time(
    client: FlaskClient, system: FakeSystem, page: Page, task_id: str
) -> None:
    address = f"/api/tasks/{task_id}/edits/retranscribe"
    body = {"base": 0, "segments": [0, 2], "model": "large-v3"}
    made = client.post(address, json=body)
    assert made.status_code == 202
    task = made.get_json()["task"]
    assert (task["options"]["model"], task["options"]["clip_timestamps"]) == ("large-v3", "0,2,4,6")
    assert (task["options"]["language"], task["filename"]) == ("en", "talk.mp3")
    again = client.post(address, json=body)
    assert (again.status_code, again.get_json()["task"]["id"]) == (200, task["id"])
    page.edit(set_text(0, "Mine."))
    assert error_of(client.post(address, json=body))[:2] == (409, "edit_conflict")
    assert client.post(address, json={**body, "segments": [1]}).status_code == 202
    for field, wrong in (("segments", [9]), ("segments", []), ("segments", [-1]), ("base", 9), ("model", "nobody's")):
        refused = error_of(client.post(address, json={**body, "segments": [1], field: wrong}))
        assert (refused[0], (refused[2] or "").partition(".")[0]) == (422, field)
    waiting = system.add()
    assert error_of(client.post(f"/api/tasks/{waiting.id}/edits/retranscribe", json=body))[:2] == (
        409, "transcript_not_ready",
    )  # fmt: skip


def test_a_client_of_another_api_that_asks_again_gets_the_edited_text(client: FlaskClient, system: FakeSystem) -> None:
    system.when_pending = lambda task_id: system.complete(task_id, " Hello teh world.")

    def ask() -> str:
        form = {"file": (BytesIO(RECORDING), "talk.flac"), "response_format": "text"}
        return client.post("/v1/audio/transcriptions", data=form, headers={"Idempotency-Key": "k"}).text

    assert ask() == "Hello teh world.\n"
    (task,) = client.get("/api/tasks").get_json()["tasks"]
    Page(client, task["id"]).edit(set_text(0, "Hello the world."))
    assert ask() == "Hello the world.\n"


def test_an_edit_may_name_every_segment_of_a_day_and_a_body_has_an_end(client: FlaskClient, task_id: str) -> None:
    every = {"kind": "set_speaker", "segments": list(range(20_000)), "speaker": "S1"}
    body = {"base": 0, "edits": [every]}
    assert len(json.dumps(body)) > 100_000
    assert error_of(client.post(f"/api/tasks/{task_id}/edits", json=body)) == (
        422, "invalid_option", "edits.0.segments",
    )  # fmt: skip
    body["edits"] = [every] * 3
    assert error_of(client.post(f"/api/tasks/{task_id}/edits", json=body))[:2] == (413, "too_large")
    assert error_of(client.patch(f"/api/tasks/{task_id}", json={"note": "x" * 64_000}))[:2] == (413, "too_large")
