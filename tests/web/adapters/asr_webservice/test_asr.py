"""whisper-asr-webservice's addresses, asked as Bazarr asks them: with the package requests, and by hand."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Callable
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from config import Settings
from optimizer.tasks.task import Task, TaskFilter, TaskStatus
from tests.web.access.conftest import API_KEYS, key_of
from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING
from web.adapters.raw_sound import AsWav, wav_header
from web.application import Application, create_app
from web.http.client_presence import CLIENT_IS_GONE

SAMPLES = bytes(range(256)) * 250  # 2 s
BAZARRS_LANGUAGE_QUESTION = {"encode": "false"}
BAZARRS_QUESTION = {"task": "transcribe", "language": "de", "output": "srt", "encode": "false"}
SRT = "1\n00:00:00,000 --> 00:00:02,000\nGood morning,\n\n2\n00:00:02,000 --> 00:00:04,000\nworld.\n\n"

Ask = Callable[..., TestResponse]


@pytest.fixture
def system(make_settings: Callable[..., Settings]) -> FakeSystem:
    """Every new task is completed with two segments."""
    system = FakeSystem(make_settings(max_upload_mb=1, default_model="base", enable_webhooks=True))
    system.when_pending = lambda task_id: system.complete(task_id, " Good morning,", " world.")
    return system


def asked(client: FlaskClient, address: str, data: Any = SAMPLES, environ: Any = None, **query: Any) -> TestResponse:
    """What the package requests would send. data: the file, or (its name, the file)."""
    sent = requests.Request("POST", f"http://server{address}", params=query, files={"audio_file": data}).prepare()
    assert isinstance(sent.body, bytes)
    return client.post(
        sent.path_url, data=sent.body, content_type=sent.headers["Content-Type"], environ_overrides=environ
    )


@pytest.fixture
def ask(client: FlaskClient) -> Ask:
    return lambda address="/asr", data=SAMPLES, **query: asked(client, address, data, **query)


def only_task(system: FakeSystem) -> Task:
    ((view,), _, _) = system.tasks(TaskFilter())
    return view.task


def test_bazarr_gets_subtitles_for_bare_samples(system: FakeSystem, ask: Ask) -> None:
    answer = ask(**BAZARRS_QUESTION)
    assert (answer.status_code, answer.text, answer.mimetype) == (200, SRT, "text/plain")
    assert answer.headers["Content-Disposition"] == "attachment; filename=audio_file.srt"
    task = only_task(system)
    assert answer.headers["Task-Id"] == task.id
    assert (task.filename, task.options.language, task.options.task) == ("audio_file", "de", "transcribe")
    stored = system.media(task.id).read_bytes()
    assert stored == wav_header() + SAMPLES


def test_bazarr_is_told_the_language(system: FakeSystem, ask: Ask) -> None:
    """No text is made for that."""
    answer = ask("/detect-language", video_file="/films/Das Boot.mkv", **BAZARRS_LANGUAGE_QUESTION)
    assert answer.get_json() == {"detected_language": "english", "language_code": "en"}
    task = only_task(system)
    assert (task.filename, task.options.language, task.options.clip_timestamps) == ("Das Boot.mkv", None, "0,0")


def test_a_file_is_kept_as_it_is_unless_it_holds_bare_samples(system: FakeSystem, ask: Ask) -> None:
    assert ask(data=("a.flac", RECORDING)).text == "Good morning,\nworld.\n"
    assert system.media(only_task(system).id).read_bytes() == RECORDING


@pytest.mark.parametrize("piece", [1, 5, 4096])
def test_a_header_comes_before_samples_and_before_nothing_else(piece: int) -> None:
    def through(data: bytes) -> bytes:
        kept = io.BytesIO()
        file = AsWav(kept)
        for start in range(0, len(data), piece):
            assert file.write(data[start : start + piece]) == len(data[start : start + piece])
        file.seek(0)
        return kept.getvalue()

    header = wav_header()
    for samples in (SAMPLES, SAMPLES[:11], b"RIFF" + SAMPLES):
        assert through(samples) == header + samples
    assert through(b"") == b""
    a_wav = wav_header(len(SAMPLES)) + SAMPLES
    assert through(a_wav) == a_wav
    with wave.open(io.BytesIO(a_wav)) as read:
        assert (read.getnchannels(), read.getsampwidth(), read.getframerate()) == (1, 2, 16000)
        assert read.readframes(1 << 20) == SAMPLES


@pytest.mark.parametrize("output", ["txt", "srt", "vtt", "tsv", "json"])
def test_every_output_is_openai_whispers_file(system: FakeSystem, client: FlaskClient, ask: Ask, output: str) -> None:
    answer = ask(output=output)
    own = client.get(
        f"/api/tasks/{only_task(system).id}/transcript", query_string={"format": output, "version": "original"}
    )
    assert (answer.status_code, answer.data) == (200, own.data)
    assert answer.mimetype == ("application/json" if output == "json" else "text/plain")


def test_parameters_become_the_tasks_options(system: FakeSystem, ask: Ask) -> None:
    query = {"task": "translate", "language": "French", "initial_prompt": "x" * 3000 + " end"}
    assert ask(**query, word_timestamps="true", vad_filter="true", diarize="false").status_code == 200
    options = only_task(system).options
    assert (options.model, options.task, options.language, options.vad_filter) == ("base", "translate", "fr", True)
    assert options.word_timestamps
    assert options.initial_prompt is not None
    assert (len(options.initial_prompt), options.initial_prompt[-5:]) == (2000, "x end")


@pytest.mark.parametrize(
    ("limits", "num_speakers", "ignored"),
    [
        ({}, None, None),
        ({"min_speakers": "2", "max_speakers": "2"}, 2, None),
        ({"min_speakers": "2", "max_speakers": "3"}, None, "min_speakers, max_speakers"),
    ],
)
def test_speakers_are_told_apart_where_that_is_asked_for(
    system: FakeSystem, ask: Ask, limits: dict[str, str], num_speakers: int | None, ignored: str | None
) -> None:
    answer = ask(diarize="true", **limits)
    options = only_task(system).options
    assert (options.speakers, options.num_speakers) == (True, num_speakers)
    assert answer.headers.get("X-Ignored-Fields") == ignored


def test_what_has_no_effect_is_named_in_a_header(client: FlaskClient, system: FakeSystem) -> None:
    form = {"audio_file": (io.BytesIO(RECORDING), "a.flac"), "task": "translate"}
    answer = client.post("/asr?min_speakers=2&output=json&output=txt", data=form)
    assert (answer.status_code, answer.headers["X-Ignored-Fields"]) == (200, "min_speakers, task")
    assert answer.text == "Good morning,\nworld.\n"  # of a parameter that is sent twice the last counts
    assert only_task(system).options.task == "transcribe"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"output": "docx"}, "output"),
        ({"task": "summarise"}, "task"),
        ({"language": "klingon"}, "language"),
        ({"encode": "perhaps"}, "encode"),
        ({"vad_filter": "perhaps"}, "vad_filter"),
        ({"word_timestamps": "perhaps"}, "word_timestamps"),
        ({"diarize": "perhaps"}, "diarize"),
        ({"diarize": "true", "min_speakers": "0"}, "min_speakers"),
    ],
)
def test_a_wrong_parameter_is_named_and_leaves_nothing(
    system: FakeSystem, ask: Ask, query: dict[str, str], field: str
) -> None:
    answer = ask(**query)
    assert answer.status_code == 422
    (fault,) = answer.get_json()["detail"]
    assert fault["loc"] == ["query", field]
    assert system.tasks(TaskFilter())[0] == []


def test_what_is_wrong_with_a_file_is_said_and_leaves_nothing(
    client: FlaskClient, system: FakeSystem, ask: Ask
) -> None:
    (fault,) = client.post("/asr").get_json()["detail"]
    assert (fault["type"], fault["loc"]) == ("missing", ["body", "audio_file"])
    for query in ({}, {"encode": "false"}):
        empty = ask(data=("a.wav", b""), **query)
        assert (empty.status_code, empty.get_json()) == (400, {"detail": "The file is empty."})
    assert ask(data=("a", b"not a recording")).status_code == 415
    assert client.get("/asr").get_json() == {"detail": "This address does not know that method."}
    assert system.tasks(TaskFilter())[0] == []


def test_a_model_of_one_language_tells_no_languages_apart(
    make_settings: Callable[..., Settings], root: Any, system: FakeSystem
) -> None:
    english = FakeSystem(make_settings(default_model="base.en"))
    answer = asked(create_app(english.settings, english, root=root).test_client(), "/detect-language")
    assert answer.status_code == 422
    assert "knows only English" in answer.get_json()["detail"]


def test_a_task_that_fails_is_an_error_and_one_that_nobody_waits_for_is_cancelled(
    system: FakeSystem, client: FlaskClient, ask: Ask
) -> None:
    system.when_pending = lambda task_id: system.fail(task_id, "engine_error", "It failed.")
    failed = ask()
    assert (failed.status_code, failed.get_json()) == (500, {"detail": "It failed."})
    system.when_pending = lambda _: None
    asked(client, "/asr", environ={CLIENT_IS_GONE: lambda: True})
    assert system.tasks(TaskFilter())[0][0].task.status is TaskStatus.CANCELLED


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (f"alice:{key_of('alice')}", 200),
        (f"mallory:{key_of('alice')}", 401),
        ("alice:wrong", 401),
        (f":{key_of('alice')}", 401),
    ],
)
def test_an_account_and_its_key_may_stand_in_the_address(
    make_settings: Callable[..., Settings], root: Any, said: str, status: int
) -> None:
    """As in http://alice:KEY@host: it is all that Bazarr can be told. Our own API does not take them so."""
    system = FakeSystem(make_settings(api_keys=API_KEYS, default_model="base"))
    system.when_pending = lambda task_id: system.complete(task_id, " Hello.")
    client = create_app(system.settings, system, root=root).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Basic {base64.b64encode(said.encode()).decode()}"
    assert asked(client, "/asr").status_code == status
    assert [view.task.owner for view in system.tasks(TaskFilter())[0]] == ["alice"] * (status == 200)
    assert client.get("/api/tasks").status_code == 401
    system.stop()


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}])
@pytest.mark.parametrize("address", ["/asr", "/detect-language", "/inference", "/v1/audio/transcriptions"])
def test_what_a_browser_knows_of_an_address_is_of_no_use_to_other_sites(
    make_settings: Callable[..., Settings], root: Any, address: str, headers: dict[str, str]
) -> None:
    """Browsers add a name and a password to each request to where they were told them, whichever page makes it."""
    system = FakeSystem(make_settings(api_keys=API_KEYS, default_model="base"))
    client = create_app(system.settings, system, root=root).test_client()
    said = base64.b64encode(f"alice:{key_of('alice')}".encode()).decode()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Basic {said}"
    assert client.post(address, data={"file": (io.BytesIO(RECORDING), "a.flac")}, headers=headers).status_code == 403
    assert system.tasks(TaskFilter())[0] == []
    system.stop()


def test_an_answer_about_a_task_is_not_kept(app: Application, ask: Ask) -> None:
    assert ask().headers["Cache-Control"] == "no-store"
