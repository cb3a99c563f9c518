"""The address of whisper.cpp's server: forms, formats and errors."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from config import Settings
from optimizer.tasks.task import Task, TaskFilter, TaskStatus
from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING
from web.http.client_presence import CLIENT_IS_GONE
from whisper_core.text.transcript import Transcript

SRT = "1\n00:00:00,000 --> 00:00:02,000\nGood morning,\n\n2\n00:00:02,000 --> 00:00:04,000\nworld.\n\n"
VTT = "WEBVTT\n\n00:00.000 --> 00:02.000\nGood morning,\n\n00:02.000 --> 00:04.000\nworld.\n\n"
LINES = " Good morning,\n world.\n"
VERBOSE = {"response_format": "verbose_json"}

Send = Callable[..., TestResponse]


@pytest.fixture
def system(make_settings: Callable[..., Settings]) -> FakeSystem:
    """Every new task is completed with two segments, with words when they were asked for."""
    system = FakeSystem(make_settings(max_upload_mb=1, default_model="base", enable_webhooks=True))

    def complete(task_id: str) -> None:
        task = system.complete(task_id, " Good morning,", " world.").task
        fields = system.files.read_transcript(task_id).to_dict()
        if task.options.word_timestamps:
            for segment in fields["segments"]:
                segment["words"] = [{"word": " w", "start": 0.0, "end": 1.0, "probability": 0.5}]
        system.files.write_transcript(task_id, Transcript.from_dict(fields))

    system.when_pending = complete
    return system


@pytest.fixture
def send(client: FlaskClient) -> Send:
    def post(data: bytes = RECORDING, environ: Any = None, **fields: Any) -> TestResponse:
        form = {"file": FileStorage(BytesIO(data), filename="a.wav"), **fields}
        boundary, body = encode_multipart({name: value for name, value in form.items() if value is not None})
        content_type = f"multipart/form-data; boundary={boundary}"
        return client.post("/inference", data=body, content_type=content_type, environ_overrides=environ)

    return post


def only_task(system: FakeSystem) -> Task:
    ((view,), _, _) = system.tasks(TaskFilter())
    return view.task


def test_json_is_the_default_and_has_a_line_for_each_segment(system: FakeSystem, send: Send) -> None:
    answer = send()
    assert answer.get_json() == {"text": LINES}
    task = only_task(system)
    assert answer.headers["Task-Id"] == task.id
    assert (task.options.model, task.options.temperature, task.options.word_timestamps) == ("base", None, False)


@pytest.mark.parametrize(
    ("response_format", "text", "content_type"),
    [
        ("text", LINES, "text/plain; charset=utf-8"),
        ("srt", SRT, "application/x-subrip; charset=utf-8"),
        ("vtt", VTT, "text/vtt; charset=utf-8"),
    ],
)
def test_other_formats_are_text(send: Send, response_format: str, text: str, content_type: str) -> None:
    answer = send(response_format=response_format)
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (200, text, content_type)


def test_verbose_json_has_segments_with_words(send: Send) -> None:
    body = send(**VERBOSE, language="en").get_json()
    assert list(body) == ["task", "language", "duration", "text", "segments"]
    assert (body["task"], body["language"], body["duration"], body["text"]) == ("transcribe", "english", 55.2, LINES)
    first = body["segments"][0]
    assert set(first) == {
        "id", "start", "end", "text", "tokens", "temperature", "avg_logprob", "no_speech_prob", "words"
    }  # fmt: skip
    assert first["words"] == [{"word": " w", "start": 0.0, "end": 1.0, "probability": 0.5}]
    assert send(**VERBOSE).get_json()["detected_language"] == "english"


@pytest.mark.parametrize(("fields", "has_times"), [({"no_timestamps": "y"}, False), ({"token_timestamps": "n"}, True)])
def test_times_are_left_out_as_asked(send: Send, fields: dict[str, str], has_times: bool) -> None:
    first = send(**VERBOSE, **fields).get_json()["segments"][0]
    assert ("start" in first, "end" in first, "words" in first) == (has_times, has_times, False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": "0.0", "temperature_inc": "0.2"}, {}),
        ({"temperature_inc": "0"}, {"temperature": 0.0}),
        ({"temperature": "0.4"}, {"temperature": 0.4}),
        ({"beam_size": "-1", "best_of": "3"}, {"best_of": 3}),
        ({"beam_size": "5"}, {"beam_size": 5}),
        ({"no_speech_thold": "0.5", "logprob_thold": "-2"}, {"no_speech_threshold": 0.5, "logprob_threshold": -2.0}),
        ({"offset_t": "1500", "duration": "30000"}, {"clip_timestamps": "1.5,31.5"}),
        ({"offset_t": "1500"}, {"clip_timestamps": "1.5"}),
        ({"max_context": "0"}, {"condition_on_previous_text": False}),
        ({"max_context": "-1", "vad": "false", "translate": "0"}, {}),
        ({"prompt": "Ada", "carry_initial_prompt": "1"}, {"initial_prompt": "Ada", "carry_initial_prompt": True}),
        ({"translate": "true", "language": "de"}, {"task": "translate", "language": "de"}),
        ({"language": "auto", "vad": "true"}, {"vad_filter": True}),
        ({"detect_language": "true", "language": "de", "vad": "1"}, {"clip_timestamps": "0,0"}),
        ({"language": ["de", "fr"]}, {"language": "de"}),
    ],
)
def test_fields_become_the_tasks_options(
    system: FakeSystem, send: Send, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    assert send(**fields).status_code == 200
    options = only_task(system).options
    plain = type(options)(model="base")
    changed = {name: value for name, value in vars(options).items() if value != getattr(plain, name)}
    assert changed == expected


def test_what_has_no_effect_is_named_in_a_header(send: Send) -> None:
    answer = send(model="whisper-1", entropy_thold="2.4", suppress_nst="true")
    assert (answer.status_code, answer.headers["X-Ignored-Fields"]) == (200, "model, entropy_thold, suppress_nst")


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        ({"response_format": "docx"}, "response_format: Must be one of"),
        ({"temperature": "hot"}, "temperature: Must be a number"),
        ({"beam_size": "2.5"}, "beam_size: Must be a whole number"),
        ({"offset_t": "-1"}, "offset_t: Must be a number"),
        ({"vad": "perhaps"}, "vad: Must be true or false"),
        ({"duration": "1e9", "offset_t": "1e9"}, "duration: Must be start,end"),
        ({"translate": "perhaps"}, "translate: Must be true or false"),
        ({"language": "klingon"}, "language: Must be auto"),
        ({"no_speech_thold": "7"}, "no_speech_thold: Must be a number"),
        ({"diarize": "true"}, "diarize: This server does not tell speakers apart"),
        ({"tinydiarize": "1"}, "tinydiarize: This server"),
        ({"file": None, "language": "de"}, "file: No file was sent"),
        ({"file": "text"}, "file: The field `file` holds text"),
        ({"data": b"not a recording"}, "This is not an audio or video file"),
        ({"data": b""}, "The file is empty"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_and_leaves_nothing(
    system: FakeSystem, send: Send, fields: dict[str, Any], start: str
) -> None:
    answer = send(**fields)
    assert (answer.status_code, list(answer.get_json())) == (400, ["error"])
    assert answer.get_json()["error"].startswith(start)
    assert system.tasks(TaskFilter())[0] == []


def test_a_task_that_fails_is_an_error_and_one_that_nobody_waits_for_is_cancelled(
    system: FakeSystem, send: Send
) -> None:
    system.when_pending = lambda task_id: system.fail(task_id, "engine_error", "It failed.")
    failed = send()
    assert (failed.status_code, failed.get_json()) == (500, {"error": "It failed."})
    system.when_pending = lambda _: None
    send(environ={CLIENT_IS_GONE: lambda: True})
    assert system.tasks(TaskFilter())[0][0].task.status is TaskStatus.CANCELLED
