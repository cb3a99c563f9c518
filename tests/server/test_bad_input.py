"""Bad uploads get a clear answer over HTTP, leave nothing behind and do not affect other tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests

from errors import UnsupportedMediaError
from tests.paths import DATA, SHORT
from tests.server.client import Client
from tests.server.conftest import server_in
from tests.web.running_server import RunningServer
from tests.whisper_core.audio.media_corpus import MediaCorpus, canary_server

pytestmark = pytest.mark.server

UNREADABLE = "unsupported_media"
CANARY_TEXT = "CANARY-4c1f-do-not-show"
MAX_AUDIO_HOURS = 0.5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Bad files are found out in their own answer, however busy the machine is."""
    folder = tmp_path_factory.mktemp("server")
    with (
        server_in(folder, MAX_AUDIO_HOURS=str(MAX_AUDIO_HOURS), MAX_UPLOAD_MB="20", TEST_DECODE_WAIT_S="60") as running,
        running.outliving_tests(),
    ):
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    """Every test starts with an empty server."""
    client = Client(server)
    yield client
    for task in client.get("/api/tasks").json()["tasks"]:
        client.delete(task["id"])


@pytest.fixture
def corpus(tmp_path: Path) -> MediaCorpus:
    folder = tmp_path / "corpus"
    folder.mkdir()
    return MediaCorpus(folder)


def refused(response: requests.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == code
    assert error["message"].endswith(".")
    assert error["request_id"]
    return error


def nothing_is_kept(server: RunningServer, client: Client) -> bool:
    """No row, no file and no unfinished upload; and the next recording is accepted."""
    files = [file.name for name in ("incoming", "media", "audio") for file in (server.data_dir / name).iterdir()]
    assert (files, client.get("/api/tasks").json()["tasks"]) == ([], [])
    return client.wait_for(client.upload(SHORT)["id"], "completed")["error"] is None


@pytest.mark.proves("F10")
def test_no_file_and_a_file_without_bytes(server: RunningServer, client: Client, corpus: MediaCorpus) -> None:
    refused(client.try_upload(corpus.write("empty.mp3", b"")), 400, "empty_file")
    address = f"{client.address}/api/tasks"
    no_part = requests.post(address, files={"model": (None, "tiny.en")}, timeout=30)
    no_name = requests.post(address, files={"file": ("", SHORT.read_bytes())}, timeout=30)
    for response in (no_part, no_name):
        refused(response, 400, "missing_file")
    assert nothing_is_kept(server, client)


@pytest.mark.proves("F11")
def test_what_is_no_media_is_refused_in_its_own_answer(
    server: RunningServer, client: Client, corpus: MediaCorpus
) -> None:
    """Forty files: random bytes, damaged headers, text, programs and archives under names of recordings."""
    messages = set()
    for file in corpus.not_media():
        messages.add(refused(client.try_upload(file), 415, "unsupported_media")["message"])
    assert messages == {UnsupportedMediaError.default_message}  # never a word of ffmpeg's
    assert nothing_is_kept(server, client)


@pytest.mark.proves("F13")
def test_video_and_pictures_without_sound(server: RunningServer, client: Client, corpus: MediaCorpus) -> None:
    for file in (corpus.video_without_sound(), corpus.image("png"), corpus.image("jpg"), corpus.empty_wav()):
        refused(client.try_upload(file), 422, "no_audio_stream")
    assert nothing_is_kept(server, client)


@pytest.mark.proves("F12")
def test_a_cut_recording_is_transcribed_as_far_as_it_goes_and_says_so(
    server: RunningServer, client: Client, corpus: MediaCorpus
) -> None:
    """An mp4 that lost its index is refused. Of what can be read in part, the part is transcribed, with a warning."""
    refused(client.try_upload(corpus.cut(corpus.video_with_sound(), 50)), 415, "unsupported_media")
    whole = client.wait_for(client.upload(corpus.tone("mp3", 20))["id"], "completed")
    assert whole["warnings"] == []
    for percent in (10, 50, 90):
        for extension in ("mp3", "wav", "webm"):
            task_id = client.upload(corpus.cut(corpus.tone(extension, 20), percent))["id"]
            task = client.wait_for(task_id, "completed")
            assert [warning["code"] for warning in task["warnings"]] == ["truncated_input"]
            assert task["warnings"][0]["readable_seconds"] == task["audio_seconds"]
            transcript = client.get(f"/api/tasks/{task_id}/transcript").json()
            assert transcript["damaged"]["readable_seconds"] == task["audio_seconds"]
            assert 0 < task["audio_seconds"] <= 20 * percent / 100 + 0.5
            events = client.get(f"/api/tasks/{task_id}/timeline").json()["events"]
            assert [event["data"]["truncated"] for event in events if event["code"] == "decoded"] == [True]
            client.delete(task_id)
    client.delete(whole["id"])
    assert nothing_is_kept(server, client)


@pytest.mark.proves("F17")
def test_playlists_open_no_file_and_no_address(server: RunningServer, client: Client, corpus: MediaCorpus) -> None:
    """HLS, concat and their like name a local file and an address; neither may be touched."""
    secret = corpus.write("secret.txt", CANARY_TEXT.encode())
    with canary_server() as canary:
        for playlist in corpus.hostile_playlists(secret, canary.url):
            response = client.try_upload(playlist)
            # An AVI is media, and what it holds is no sound.
            is_container = playlist.suffix == ".avi"
            refused(response, *((422, "no_audio_stream") if is_container else (415, "unsupported_media")))
            assert CANARY_TEXT not in response.text
        assert canary.requests == []
    assert nothing_is_kept(server, client)
    kept = [file.read_bytes() for file in server.data_dir.rglob("*") if file.is_file()]
    assert [data for data in kept if CANARY_TEXT.encode() in data] == []
    assert CANARY_TEXT not in "".join(server.lines)


@pytest.mark.proves("S21")
def test_an_address_is_fetched_nowhere_it_can_be_written(
    server: RunningServer, client: Client, corpus: MediaCorpus
) -> None:
    """As a field, as a model, as a name, in a file, in a header: refused, or text like any other."""
    description = client.get("/openapi/openapi.json").json()
    assert [name for name in names_of_inputs(description) if re.search("url|uri|href|link|callback|hook", name)] == []
    with canary_server() as canary:
        for address in (canary.url, canary.url.replace("http://", "//"), canary.url.replace("127.0.0.1", "0x7f.1")):
            for field in ("url", "file_url", "callback", "webhook"):
                refused(client.try_upload(SHORT, **{field: address}), 422, "invalid_option")
            refused(client.try_upload(SHORT, model=address), 422, "unknown_model")
            assert requests.post(f"{client.address}/api/models/{address}/fetch", timeout=30).status_code in (404, 422)
            refused(client.try_upload(corpus.write("list.m3u", f"#EXTM3U\n{address}\n".encode())), 415, UNREADABLE)
            named = requests.post(
                f"{client.address}/api/tasks",
                files={"file": (address, SHORT.read_bytes())},
                data={"initial_prompt": address},
                headers={"Referer": address, "X-Forwarded-Host": address, "Forwarded": f"host={address}"},
                timeout=30,
            )
            assert client.wait_for(named.json()["task"]["id"], "completed")["options"]["initial_prompt"] == address
        without_file = requests.post(f"{client.address}/api/tasks", data={"file": canary.url}, timeout=30)
        refused(without_file, 400, "missing_file")
        in_its_place = requests.post(f"{client.address}/api/tasks", files={"url": (None, canary.url)}, timeout=30)
        refused(in_its_place, 400, "missing_file")
        assert canary.requests == []


def names_of_inputs(part: Any) -> set[str]:
    """Of every parameter and field that the API's description has for requests."""
    if isinstance(part, list):
        return set().union(*map(names_of_inputs, part))
    if not isinstance(part, dict):
        return set()
    own = {part["name"]} if "in" in part and isinstance(part.get("name"), str) else set()
    own |= set(part.get("properties", ()))
    return own.union(*(names_of_inputs(value) for name, value in part.items() if name != "responses"))


@pytest.mark.proves("F14")
def test_the_wrong_extension_with_the_right_content_works(client: Client, corpus: MediaCorpus) -> None:
    task = client.upload(corpus.renamed(SHORT, "mp4"))
    assert client.wait_for(task["id"], "completed")["audio_seconds"] == pytest.approx(2.99, abs=0.01)


def test_longer_than_the_limit(server: RunningServer, client: Client, corpus: MediaCorpus) -> None:
    refused(client.try_upload(corpus.silence(hours=MAX_AUDIO_HOURS + 0.5)), 422, "too_long")
    assert nothing_is_kept(server, client)


def test_larger_than_the_limit_by_its_announced_length(server: RunningServer, client: Client) -> None:
    """The answer comes before the body is sent: this client never sends it."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.putrequest("POST", "/api/tasks")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", "30000000")
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["error"]["code"] == "too_large"
    assert nothing_is_kept(server, client)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..\\..\\boot.ini",
        "a\nERROR fake line.wav",
        "\u202egnp.wav",
        "x" * 4000 + ".wav",
        "CON",
        "<b>.wav",
    ],
    ids=["path", "windows path", "newline", "right to left", "long", "reserved", "markup"],
)
def test_hostile_names_are_shown_harmlessly_and_never_used(server: RunningServer, client: Client, name: str) -> None:
    boundary = "----x"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="'.encode()
        + name.replace("\n", "%0A").encode()
        + b'"\r\n\r\n'
        + SHORT.read_bytes()
        + f"\r\n--{boundary}--\r\n".encode()
    )
    response = requests.post(
        f"{client.address}/api/tasks",
        data=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        timeout=30,
    )
    assert response.status_code == 202, response.text
    task = response.json()["task"]
    shown = task["filename"]
    assert 0 < len(shown.encode()) <= 255
    assert not set(shown) & set("/\\\n\r\0\u202e")
    client.wait_for(task["id"], "completed")
    assert {file.name for file in (server.data_dir / "media").iterdir()} == {task["id"]}
    assert not any(line.startswith("ERROR fake") for line in server.lines)


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"model": "enormous"}, "unknown_model", "model"),
        ({"model": "../../tiny"}, "unknown_model", "model"),
        ({"model": "base", "language": "klingon"}, "invalid_option", "language"),
        ({"model": "base", "language": "yue"}, "invalid_option", "language"),
        ({"temperature": "hot"}, "invalid_option", "temperature"),
        ({"temperature": "2"}, "invalid_option", "temperature"),
        ({"task": "sing"}, "invalid_option", "task"),
        ({"priority": "urgent"}, "invalid_option", "priority"),
        ({"device": "cuda:7"}, "invalid_option", "device"),
        ({"mode": "fast"}, "invalid_option", "mode"),
        ({"word_timestamps": "perhaps"}, "invalid_option", "word_timestamps"),
        ({"no_such_option": "1"}, "invalid_option", "no_such_option"),
    ],
    ids=lambda value: next(iter(value.items())).__str__() if isinstance(value, dict) else "",
)
def test_unknown_models_languages_and_options(
    server: RunningServer, client: Client, options: dict[str, str], code: str, field: str
) -> None:
    error = refused(client.try_upload(SHORT, **options), 422, code)
    assert error["field"] == field
    assert nothing_is_kept(server, client)


def test_a_bad_upload_beside_a_running_task_leaves_that_task_alone(client: Client, corpus: MediaCorpus) -> None:
    running = client.upload(DATA / "dev-minute-01.flac", initial_prompt="window_s=0.5")["id"]
    for bad in (corpus.random_bytes(), corpus.text_named_mp3(), corpus.video_without_sound()):
        assert client.try_upload(bad).status_code in (415, 422)
    task = client.wait_for(running, "completed")
    assert (task["attempts"], task["error"]) == (1, None)


def test_a_search_for_a_nul_finds_nothing_but_a_refusal(client: Client) -> None:
    refused(client.get("/api/tasks", q="\0"), 422, "invalid_option")


def test_an_empty_selection_does_not_mean_every_transcript(client: Client) -> None:
    refused(client.get("/api/transcripts.zip", ids=""), 422, "invalid_option")


def test_a_finished_task_cannot_be_cancelled_and_says_so(client: Client) -> None:
    task_id = client.wait_for(client.upload(SHORT)["id"], "completed")["id"]
    answer = requests.post(f"{client.address}/api/tasks/{task_id}/cancel", timeout=30)
    refused(answer, 409, "already_finished")
