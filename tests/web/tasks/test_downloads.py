"""Transcripts, media and archives."""

from __future__ import annotations

import json
import math
import stat
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from optimizer.common.filenames import display_name
from optimizer.views.rendering import render_transcript
from tests.properties import budget
from tests.web.fake_system import FakeSystem
from tests.web.fake_tasks import segment
from tests.web.requests import error_of
from web.http.request_schemas import MAX_ARCHIVE_IDS
from web.tasks.media_type import media_type_of_head
from whisper_core.text.formats import FORMATS
from whisper_core.text.transcript import Transcript, Word


def test_json_transcript_of_a_running_task_is_partial(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    system.finish_window(task.id, " Hello", " there")
    body = client.get(f"/api/tasks/{task.id}/transcript").get_json()
    assert (body["text"], body["partial"]) == (" Hello there", True)
    assert [s["id"] for s in body["segments"]] == [0, 1]


def test_a_finished_json_transcript_has_openai_whispers_fields(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    system.complete(task.id, " Hello")
    body = client.get(f"/api/tasks/{task.id}/transcript").get_json()
    assert set(body) == {"text", "language", "segments", "precision", "version", "edited"}
    original = client.get(f"/api/tasks/{task.id}/transcript?version=original").get_json()
    assert set(original) == {"text", "language", "segments", "precision"}
    assert set(body["segments"][0]) == {
        "id", "seek", "start", "end", "text", "tokens",
        "temperature", "avg_logprob", "compression_ratio", "no_speech_prob",
    }  # fmt: skip


def test_other_formats_wait_for_the_end(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    assert error_of(client.get(f"/api/tasks/{task.id}/transcript?format=srt"))[:2] == (409, "transcript_not_ready")


@pytest.mark.parametrize("transcript_format", ["txt", "srt", "vtt", "tsv", "json"])
def test_transcript_as_a_file(client: FlaskClient, system: FakeSystem, transcript_format: str) -> None:
    task = system.add('inter"view ü.mp3')
    system.complete(task.id, " Hello")
    with client.get(f"/api/tasks/{task.id}/transcript?format={transcript_format}&download=1") as response:
        assert response.status_code == 200
        assert "Hello" in response.get_data(as_text=True)
        assert response.mimetype == FORMATS[transcript_format].media_type
        assert transcript_format == "json" or response.mimetype_params == {"charset": "utf-8"}
        disposition = response.headers["Content-Disposition"]
    assert disposition.startswith("attachment; ")
    assert unquote(disposition).endswith(f'inter"view ü.{transcript_format}')


@pytest.mark.parametrize("transcript_format", FORMATS)
def test_every_format_has_its_media_type_and_file_name(
    client: FlaskClient, system: FakeSystem, transcript_format: str
) -> None:
    task = system.add("talk.mp3")
    system.complete(task.id, " Hello")
    written = FORMATS[transcript_format]
    with client.get(f"/api/tasks/{task.id}/transcript?format={transcript_format}&download=1") as response:
        assert (response.mimetype, response.mimetype_params.get("charset")) == (
            written.media_type,
            "utf-8" if written.is_text else None,
        )
        assert response.headers["Content-Disposition"].endswith(f"filename=talk.{written.extension}")
    archive = client.get(f"/api/transcripts.zip?format={transcript_format}")
    with zipfile.ZipFile(BytesIO(archive.data)) as opened:
        assert opened.namelist() == [f"talk.{written.extension}"]


@pytest.mark.parametrize("transcript_format", ["txt", "srt", "vtt", "tsv", "json"])
def test_the_file_name_shows_the_mode_vad(client: FlaskClient, system: FakeSystem, transcript_format: str) -> None:
    task = system.add("talk.mp3", mode="vad")
    system.complete(task.id, " Hello")
    with client.get(f"/api/tasks/{task.id}/transcript?format={transcript_format}&download=1") as response:
        assert response.headers["Content-Disposition"].endswith(f"filename=talk.vad.{transcript_format}")


@pytest.mark.parametrize("is_finished", [False, True])
def test_the_json_shows_the_mode_vad(client: FlaskClient, system: FakeSystem, is_finished: bool) -> None:
    task = system.add(mode="vad")
    system.finish_window(task.id, " Hello")
    if is_finished:
        system.complete(task.id)
    assert client.get(f"/api/tasks/{task.id}/transcript").get_json()["mode"] == "vad"


def test_the_json_shows_the_precision_once_it_is_known(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    path = f"/api/tasks/{task.id}/transcript"
    system.finish_window(task.id, " Hello")
    assert client.get(path).get_json()["precision"] is None

    system.complete(task.id)
    assert client.get(path).get_json()["precision"] == "fp32"
    original = client.get(f"{path}?version=original").get_data()
    assert list(json.loads(original)) == ["text", "language", "segments", "precision"]


@pytest.mark.parametrize(("declared", "amount"), [(13.16, ": 6.5 s of 13.2 s."), (None, ": 6.5 s.")])
def test_a_damaged_recording_says_how_much_of_it_was_read(
    client: FlaskClient, system: FakeSystem, declared: float | None, amount: str
) -> None:
    task = system.add("cut.webm")
    system.complete(task.id, " Hello")
    damage = {"readable_seconds": 6.5, "declared_seconds": declared}
    assert "damaged" not in client.get(f"/api/tasks/{task.id}/transcript").get_json()
    system._change(task.id, audio_seconds=6.5, is_truncated=True, declared_seconds=declared)
    warning = client.get(f"/api/tasks/{task.id}").get_json()["task"]["warnings"][0]
    assert warning["message"].endswith(amount)
    assert warning == {"code": "truncated_input", "message": warning["message"], **damage}
    assert client.get(f"/api/tasks/{task.id}/transcript").get_json()["damaged"] == damage
    assert json.loads(members(client.get("/api/transcripts.zip?format=json").data)["cut.json"])["damaged"] == damage


def test_a_text_without_a_word_says_so_once_it_is_complete(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add("silence.wav")
    path = f"/api/tasks/{task.id}"
    assert "warning" not in client.get(f"{path}/transcript").get_json()
    system.complete(task.id, " ")
    system._change(task.id, is_silent=True)
    assert client.get(f"{path}/transcript").get_json()["warning"] == "No speech was found in this recording."
    (warning,) = client.get(path).get_json()["task"]["warnings"]
    assert (warning["code"], warning["message"]) == ("no_speech", "No speech was found in this recording.")


def with_words(system: FakeSystem, name: str = "talk.mp3") -> str:
    """A completed task of four words, one each half second. Its recording lasts 55.2 s."""
    task = system.add(name)
    system.complete(task.id)
    words = tuple(Word(f" {word}", i / 2, i / 2 + 0.5, 0.9) for i, word in enumerate(("one", "two", "three", "four")))
    spoken = replace(segment(0, " one two three four"), words=words)
    system.files.write_transcript(task.id, Transcript(spoken.text, "en", (spoken,), "fp32"))
    return task.id


def test_subtitles_are_cut_as_asked(client: FlaskClient, system: FakeSystem) -> None:
    path = f"/api/tasks/{with_words(system)}/transcript?format=srt"
    assert client.get(f"{path}&max_line_width=8&max_line_count=1").get_data(as_text=True) == (
        "1\n00:00:00,000 --> 00:00:01,000\none two\n\n"
        "2\n00:00:01,000 --> 00:00:01,500\nthree\n\n"
        "3\n00:00:01,500 --> 00:00:02,000\nfour\n\n"
    )
    assert client.get(f"{path}&max_words_per_line=3").get_data(as_text=True).count("-->") == 2
    assert "one <u>two</u> three" in client.get(f"{path}&highlight_words=true").get_data(as_text=True)


@pytest.mark.parametrize("value", ["0", "-1", "1001", "wide"])
def test_a_width_that_is_no_width_is_refused(client: FlaskClient, system: FakeSystem, value: str) -> None:
    answer = client.get(f"/api/tasks/{with_words(system)}/transcript?format=srt&max_line_width={value}")
    assert error_of(answer) == (422, "invalid_option", "max_line_width")


def test_what_needs_word_timestamps_is_refused_without_them(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    system.complete(task.id, " Hello there")
    path = f"/api/tasks/{task.id}/transcript?max_words_per_line=1"
    refused = client.get(f"{path}&format=vtt")
    assert error_of(refused) == (422, "invalid_option", "max_words_per_line")
    assert "word_timestamps" in refused.get_json()["error"]["message"]
    assert client.get(f"{path}&format=txt").get_data(as_text=True) == "Hello there\n"
    broken = client.get(f"/api/tasks/{task.id}/transcript?format=vtt&max_line_width=6")
    assert "00:00.000 --> 00:02.000\nHello\nthere\n" in broken.get_data(as_text=True)


def test_no_cue_ends_behind_the_recording(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    system.complete(task.id)
    late = replace(segment(0, " bye"), start=50.0, end=60.0)
    system.files.write_transcript(task.id, Transcript(late.text, "en", (late,), "fp32"))
    path = f"/api/tasks/{task.id}/transcript"
    assert "00:00:50,000 --> 00:00:55,200" in client.get(f"{path}?format=srt").get_data(as_text=True)
    assert client.get(path).get_json()["segments"][0]["end"] == 60.0


def test_unknown_format(client: FlaskClient, system: FakeSystem) -> None:
    assert error_of(client.get(f"/api/tasks/{system.add().id}/transcript?format=doc")) == (
        422, "invalid_option", "format"
    )  # fmt: skip


def test_numbers_that_json_does_not_have_become_null() -> None:
    odd = replace(segment(0, "x"), avg_logprob=math.nan, compression_ratio=math.inf)
    body = json.loads(render_transcript(Transcript("x", "en", (odd,)), "json"))
    assert (body["segments"][0]["avg_logprob"], body["segments"][0]["compression_ratio"]) == (None, None)


def test_the_json_says_that_segments_are_as_long_as_their_windows() -> None:
    segments = tuple(replace(segment(number, "x"), seek=3000 * number, tokens=(50_364, 17)) for number in range(2))
    assert json.loads(render_transcript(Transcript("xx", "en", segments), "json"))["coarse_times"] is True
    assert "coarse_times" not in json.loads(render_transcript(Transcript("x", "en", segments[:1]), "json"))


def test_media_in_ranges(client: FlaskClient, system: FakeSystem) -> None:
    data = b"fLaC" + bytes(range(256))
    task = system.add(data=data)
    path = f"/api/tasks/{task.id}/media"
    with client.get(path) as whole:
        assert (whole.status_code, whole.data, whole.mimetype) == (200, data, "audio/flac")
        assert whole.headers["Accept-Ranges"] == "bytes"
        etag = whole.headers["ETag"]
    with client.get(path, headers={"Range": "bytes=4-7"}) as part:
        assert (part.status_code, part.data) == (206, data[4:8])
        assert part.headers["Content-Range"] == f"bytes 4-7/{len(data)}"
    with client.get(path, headers={"Range": "bytes=-3"}) as tail:
        assert tail.data == data[-3:]
    with client.get(path, headers={"If-None-Match": etag}) as known:
        assert known.status_code == 304
    with client.get(path, headers={"Range": "bytes=9999-"}) as beyond:
        assert error_of(beyond)[:2] == (416, "range_not_satisfiable")


@pytest.mark.parametrize("wanted", ["bytes=0-1,4-5", "seconds=0-1", "bytes=5-1", "bytes"])
def test_ranges_that_are_not_understood_are_ignored(client: FlaskClient, system: FakeSystem, wanted: str) -> None:
    task = system.add()
    with client.get(f"/api/tasks/{task.id}/media", headers={"Range": wanted}) as response:
        assert (response.status_code, response.data) == (200, b"fLaC sound")


def test_range_of_a_head_request_is_ignored(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    with client.head(f"/api/tasks/{task.id}/media", headers={"Range": "bytes=0-1"}) as response:
        assert (response.status_code, response.headers["Content-Length"]) == (200, "10")


def test_media_that_no_longer_exists(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    system.media(task.id).unlink()
    assert error_of(client.get(f"/api/tasks/{task.id}/media"))[:2] == (410, "file_missing")


def test_the_waveform_has_its_peaks_as_numbers(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add()
    assert client.get(f"/api/tasks/{task.id}/waveform").json == {"seconds_per_peak": 0.02, "peaks": [0, 12, 255, 90]}
    assert error_of(client.get("/api/tasks/unknown/waveform"))[:2] == (404, "task_not_found")


def test_page_sent_as_a_recording_is_not_shown_as_one(client: FlaskClient, system: FakeSystem) -> None:
    task = system.add("attack.html", b"<!doctype html><script>alert(1)</script>")
    with client.get(f"/api/tasks/{task.id}/media") as response:
        assert response.mimetype == "application/octet-stream"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"RIFF\0\0\0\0WAVE", "audio/wav"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90\x00", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"OggS\0\x02OpusHead", "audio/ogg"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\x1a\x45\xdf\xa3\x01\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x01\x42\x82\x88matroska", "video/x-matroska"),
        (b"", "application/octet-stream"),
        (b"<svg xmlns=", "application/octet-stream"),
    ],
)
def test_the_media_type_is_found_from_the_content(head: bytes, expected: str) -> None:
    assert media_type_of_head(head) == expected


def members(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_archive_of_every_completed_task(client: FlaskClient, system: FakeSystem) -> None:
    for name in ("a.mp3", "../../a.wav", "CON.mp3"):
        system.complete(system.add(name).id, f" from {name}")
    system.add("waiting.mp3")
    response = client.get("/api/transcripts.zip")
    assert (response.status_code, response.mimetype) == (200, "application/zip")
    assert set(members(response.data)) == {"_CON.txt", "a.txt", "a (2).txt"}


@pytest.fixture
def in_kolkata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Five and a half hours ahead of UTC."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_kolkata")
def test_the_times_in_an_archive_are_local(client: FlaskClient, system: FakeSystem) -> None:
    task_id = system.add("a.mp3").id
    system.complete(task_id, " x")
    finished_at = system.task(task_id).task.finished_at
    assert finished_at is not None
    with zipfile.ZipFile(BytesIO(client.get("/api/transcripts.zip").data)) as archive:
        kept = datetime(*archive.infolist()[0].date_time, tzinfo=UTC) - timedelta(hours=5, minutes=30)
    assert abs(finished_at - kept) < timedelta(seconds=3)  # a zip counts every other second


def test_an_archive_shows_which_texts_are_in_mode_vad(client: FlaskClient, system: FakeSystem) -> None:
    for mode in ("exact", "vad", "vad"):
        system.complete(system.add("a.mp3", mode=mode).id, " x")
    answers = members(client.get("/api/transcripts.zip?format=json").data)
    assert {name: json.loads(text).get("mode") for name, text in answers.items()} == {
        "a.json": None,
        "a.vad.json": "vad",
        "a (2).vad.json": "vad",
    }


def test_archive_of_more_than_a_page(client: FlaskClient, system: FakeSystem) -> None:
    for number in range(205):
        system.complete(system.add(f"{number}.mp3").id, " x")
    assert len(members(client.get("/api/transcripts.zip?format=vtt").data)) == 205


def test_archive_of_chosen_tasks(client: FlaskClient, system: FakeSystem) -> None:
    ids = [system.add(f"{name}.mp3").id for name in "abcd"]
    for task_id in ids:
        system.complete(task_id, " x")
    response = client.get(f"/api/transcripts.zip?format=srt&ids={ids[0]},{ids[2]}&ids={ids[3]}&ids={ids[0]}")
    assert list(members(response.data)) == ["a.srt", "c.srt", "d.srt"]


def test_an_archive_names_the_texts_whose_words_have_no_times(client: FlaskClient, system: FakeSystem) -> None:
    timed, untimed = with_words(system), system.add("untimed.mp3").id
    system.complete(untimed, " Hello there")
    wanted = {"ids": [timed, untimed], "format": "srt", "max_line_width": 8, "max_line_count": 1}
    found = members(client.post("/api/transcripts.zip", json=wanted).data)
    assert found["talk.srt"].count("-->") == 3
    assert found["untimed.srt"] == "1\n00:00:00,000 --> 00:00:02,000\nHello\nthere\n\n"
    assert found["_without_word_timestamps.txt"] == "untimed.srt\n"
    whole = members(client.get(f"/api/transcripts.zip?ids={timed},{untimed}&format=txt&highlight_words=true").data)
    assert set(whole) == {"talk.txt", "untimed.txt"}


@pytest.mark.parametrize("value", [0, True, "8"])
def test_an_archive_refuses_a_width_that_is_none(client: FlaskClient, system: FakeSystem, value: object) -> None:
    body = {"ids": [with_words(system)], "format": "srt", "max_line_width": value}
    assert error_of(client.post("/api/transcripts.zip", json=body)) == (422, "invalid_option", "max_line_width")


def test_archive_of_a_long_list(client: FlaskClient, system: FakeSystem) -> None:
    """As long as any list may be."""
    ids = [system.add(f"{number}.mp3").id for number in range(MAX_ARCHIVE_IDS)]
    for task_id in ids:
        system.complete(task_id, " x")
    response = client.post("/api/transcripts.zip", json={"ids": ids, "format": "srt"})
    assert (response.status_code, response.mimetype) == (200, "application/zip")
    assert len(members(response.data)) == MAX_ARCHIVE_IDS


@pytest.mark.parametrize(
    ("body", "field"),
    [({"ids": []}, "ids"), ({}, "ids"), ({"ids": ["x"] * (MAX_ARCHIVE_IDS + 1)}, "ids"), ({"ids": [""]}, "ids.0")],
)
def test_archive_refuses_lists_that_are_empty_or_too_long(
    client: FlaskClient, body: dict[str, list[str]], field: str
) -> None:
    assert error_of(client.post("/api/transcripts.zip", json=body)) == (422, "invalid_option", field)


def test_archive_refuses_unfinished_and_unknown_tasks(client: FlaskClient, system: FakeSystem) -> None:
    assert error_of(client.get(f"/api/transcripts.zip?ids={system.add().id}"))[:2] == (409, "transcript_not_ready")
    assert error_of(client.get("/api/transcripts.zip?ids=nothing"))[:2] == (404, "task_not_found")


NASTY_NAMES = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    [
        "../../x",
        "/etc/passwd",
        "C:\\x",
        "..",
        ".",
        "CON",
        "aux.mp3",
        "a\0b",
        "x" * 400,
        "a:b",
        "A.mp3",
        "a.mp3",
        " ",
        "~",
    ]
)


@pytest.mark.proves("S18")
@budget(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NASTY_NAMES, min_size=1, max_size=6))
def test_an_archive_unpacks_into_its_folder_whatever_the_recordings_are_called(
    names: list[str], client: FlaskClient, system: FakeSystem
) -> None:
    tasks = [system.add(display_name(name)) for name in names]
    for task in tasks:
        system.complete(task.id, " x")
    answer = client.get("/api/transcripts.zip?ids=" + ",".join(task.id for task in tasks))
    with zipfile.ZipFile(BytesIO(answer.data)) as archive, TemporaryDirectory() as place:
        members = archive.infolist()
        archive.extractall(Path(place) / "inner")
        unpacked = [path for path in Path(place).rglob("*") if path.name != "inner"]
        assert {path.parent for path in unpacked} == {Path(place) / "inner"}
        assert len(unpacked) == len({path.name.casefold() for path in unpacked}) == len(tasks)
    for member in members:
        assert stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)  # no link, no device
        assert PurePosixPath(member.filename).name == PureWindowsPath(member.filename).name == member.filename
        assert not PureWindowsPath(member.filename).is_reserved()
        assert member.filename.endswith(".txt")


def test_an_archive_lists_what_no_longer_exists(client: FlaskClient, system: FakeSystem) -> None:
    kept, gone = system.add("kept.mp3"), system.add("gone.mp3")
    for task in (kept, gone):
        system.complete(task.id, " x")
    (system.settings.data_dir / "transcripts" / f"{gone.id}.json").unlink()
    assert members(client.get("/api/transcripts.zip").data)["_missing.txt"] == "gone.mp3\n"
