"""OpenAI's addresses for audio: forms, formats, errors and headers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient

from optimizer.tasks.task import Priority, TaskFilter, TaskStatus
from tests.web.adapters.openai.conftest import TRANSCRIPTIONS, TRANSLATIONS, Send, fault_of, only_task
from tests.web.fake_system import FakeSystem
from tests.web.fake_tasks import segment
from web.adapters.openai import routes
from whisper_core.text.speaker_words import with_speakers
from whisper_core.text.transcript import Transcript, Word
from whisper_core.text.turns import Turn

VERBOSE = {"response_format": "verbose_json"}
KEYS_OF_SEGMENTS = [
    "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob"
]  # fmt: skip
SRT = "1\n00:00:00,000 --> 00:00:02,000\nGood morning,\n\n2\n00:00:02,000 --> 00:00:04,000\nworld.\n\n"
VTT = "WEBVTT\n\n00:00.000 --> 00:02.000\nGood morning,\n\n00:02.000 --> 00:04.000\nworld.\n\n"


def test_json_is_the_default_and_has_the_text_and_the_usage(spoken: FakeSystem, send: Send) -> None:
    answer = send()
    assert answer.get_json() == {"text": "Good morning, world.", "usage": {"type": "duration", "seconds": 55.2}}
    task = only_task(spoken)
    assert answer.headers["openai-model"] == task.options.model == spoken.default_model()
    assert answer.headers["Task-Id"] == task.id
    assert answer.headers["Cache-Control"] == "no-store"
    assert "X-Ignored-Fields" not in answer.headers
    assert (task.filename, task.options.temperature, task.options.word_timestamps) == ("a.flac", None, False)


@pytest.mark.parametrize(
    ("response_format", "media_type", "text"),
    [("text", "text/plain", "Good morning, world.\n"), ("srt", "text/plain", SRT), ("vtt", "text/vtt", VTT)],
)
def test_other_formats_are_the_bare_text(
    spoken: FakeSystem, send: Send, response_format: str, media_type: str, text: str
) -> None:
    answer = send(response_format=response_format)
    assert (answer.status_code, answer.mimetype, answer.mimetype_params) == (200, media_type, {"charset": "utf-8"})
    assert answer.text == text


def test_verbose_json_has_the_languages_name_and_segments_with_ten_keys(spoken: FakeSystem, send: Send) -> None:
    body = send(**VERBOSE).get_json()
    assert {name: body[name] for name in ("task", "language", "duration", "text")} == {
        "task": "transcribe", "language": "english", "duration": 55.2, "text": "Good morning, world."
    }  # fmt: skip
    assert [list(segment) for segment in body["segments"]] == [KEYS_OF_SEGMENTS] * 2
    assert "words" not in body


@pytest.mark.parametrize("name", ["timestamp_granularities", "timestamp_granularities[]"])
@pytest.mark.parametrize(
    ("granularities", "has_words", "has_segments"),
    [(["word"], True, False), (["segment"], False, True), (["word", "segment"], True, True)],
)
def test_words_and_segments_are_there_as_asked(
    system: FakeSystem, send: Send, name: str, granularities: list[str], has_words: bool, has_segments: bool
) -> None:
    def complete(task_id: str) -> None:
        system.complete(task_id, " Hello.")
        fields = system.files.read_transcript(task_id).to_dict()
        words = (Word(" Hello.", 0.0, 1.5, 0.9),) if only_task(system).options.word_timestamps else None
        fields["segments"][0]["words"] = words and [word.to_dict() for word in words]
        system.files.write_transcript(task_id, Transcript.from_dict(fields))

    system.when_pending = complete
    body = send(**VERBOSE, **{name: granularities}).get_json()
    assert ("words" in body, "segments" in body) == (has_words, has_segments)
    if has_words:
        assert body["words"] == [{"word": "Hello.", "start": 0.0, "end": 1.5}]
    assert only_task(system).options.word_timestamps == has_words


def test_who_asks_for_segments_gets_them_with_json_too(spoken: FakeSystem, send: Send) -> None:
    """As Subtitle Edit 5 asks: for words, too, of which json has none, so none are made."""
    asked = {"response_format": "json", "timestamp_granularities[]": ["segment", "word"]}
    body = send(**asked).get_json()
    assert set(body) == {"text", "segments", "usage"}
    assert "".join(each["text"] for each in body["segments"]).strip() == body["text"]
    assert {key for each in body["segments"] for key in each} == set(KEYS_OF_SEGMENTS)
    assert not only_task(spoken).options.word_timestamps
    done = events_of(send(**asked, stream="true").text)[-1]
    assert done["segments"] == body["segments"]


def test_fields_become_the_tasks_options(spoken: FakeSystem, send: Send) -> None:
    fields = {
        "keywords[]": ["Flask", "", "ulid"],
        "prompt": "x" * 3000 + " end",
        "temperature": "0.4",
        "language": "de",
        "track": "2",
    }
    assert send(model="Systran/faster-whisper-small", chunking_strategy="auto", **fields).status_code == 200
    options = only_task(spoken).options
    assert (options.model, options.language, options.temperature, options.track) == ("small", "de", 0.4, "2")
    assert options.hotwords == "Flask, ulid"
    assert options.initial_prompt is not None
    assert (len(options.initial_prompt), options.initial_prompt[-5:]) == (2000, "x end")


@pytest.mark.parametrize("address", [TRANSCRIPTIONS, TRANSLATIONS])
def test_our_own_options_are_understood(spoken: FakeSystem, send: Send, address: str) -> None:
    fields = {"vad_filter": "true", "no_speech_threshold": "none", "hotwords": "Ann", "priority": "high"}
    answer = send(address, **fields)
    assert "X-Ignored-Fields" not in answer.headers
    task = only_task(spoken)
    assert task.options.beyond_default == {"vad_filter": True, "no_speech_threshold": None, "hotwords": "Ann"}
    assert task.priority is Priority.HIGH
    assert fault_of(send(address, vad_filter="perhaps"))[:2] == (400, "vad_filter")


def with_a_word_a_second(system: FakeSystem, task_id: str, text: str) -> None:
    """Completes the task with one segment, and words where they were asked for."""
    words = tuple(Word(f" {word}", second, second + 1.0, 0.9) for second, word in enumerate(text.split()))
    has_words = only_task(system).options.word_timestamps
    spoken = replace(segment(0, f" {text}"), end=float(len(words)), words=words if has_words else None)
    system.complete(task_id)
    system.files.write_transcript(task_id, Transcript(spoken.text, "en", (spoken,)))


@pytest.mark.parametrize("address", [TRANSCRIPTIONS, TRANSLATIONS])
@pytest.mark.parametrize(
    ("fields", "has_words", "cues"),
    [
        ({"max_line_width": "8"}, False, ["one two\nthree"]),
        ({"max_words_per_line": "2"}, True, ["one two", "three"]),
        ({"max_line_width": "7", "max_line_count": "1"}, True, ["one two", "three"]),
        ({"highlight_words": "true"}, True, ["<u>one</u> two three", "one <u>two</u> three", "one two <u>three</u>"]),
        ({"highlight_words": "false"}, False, ["one two three"]),
    ],
)
def test_subtitles_are_cut_as_asked_with_words_where_that_needs_them(
    system: FakeSystem, send: Send, address: str, fields: dict[str, str], has_words: bool, cues: list[str]
) -> None:
    system.when_pending = lambda task_id: with_a_word_a_second(system, task_id, "one two three")
    answer = send(address, model="base", response_format="srt", **fields)
    assert [cue.split("\n", 2)[2] for cue in answer.get_data(as_text=True).strip().split("\n\n")] == cues
    assert only_task(system).options.word_timestamps == has_words
    assert "X-Ignored-Fields" not in answer.headers


def test_other_formats_ignore_how_subtitles_are_cut(spoken: FakeSystem, send: Send) -> None:
    answer = send(max_line_width="no number", highlight_words="true")
    assert (answer.status_code, answer.headers["X-Ignored-Fields"]) == (200, "max_line_width, highlight_words")
    assert not only_task(spoken).options.word_timestamps


@pytest.mark.parametrize("temperature", ["0", "0.0", "", None])
def test_temperature_0_is_raised_when_the_text_is_doubtful(
    spoken: FakeSystem, send: Send, temperature: str | None
) -> None:
    send(temperature=temperature)
    assert only_task(spoken).options.temperature is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"response_format": "docx"}, (400, "response_format", "invalid_value")),
        ({"known_speaker_names[]": "Ann"}, (400, "known_speaker_names", "invalid_value")),
        ({"include[]": "logprobs"}, (400, "include", "bad_request")),
        ({"timestamp_granularities[]": "word"}, (400, "timestamp_granularities", "invalid_value")),
        ({"timestamp_granularities[]": "letter", **VERBOSE}, (400, "timestamp_granularities", "invalid_value")),
        ({"temperature": "2"}, (400, "temperature", "invalid_value")),
        ({"temperature": "hot"}, (400, "temperature", "invalid_value")),
        ({"language": "klingon"}, (400, "language", "invalid_value")),
        ({"prompt": ["a", "b"]}, (400, "prompt", "invalid_value")),
        ({"stream": "perhaps"}, (400, "stream", "invalid_value")),
        ({"model": "base", "stream": "true", "response_format": "srt"}, (400, "stream", "invalid_value")),
        ({"model": "gpt-5"}, (404, "model", "model_not_found")),
        ({"max_line_width": "0", "response_format": "vtt"}, (400, "max_line_width", "invalid_value")),
        ({"highlight_words": "some", "response_format": "srt"}, (400, "highlight_words", "invalid_value")),
        ({"file": None}, (400, "file", "missing_required_parameter")),
        ({"data": b"not a recording"}, (400, None, "unsupported_media")),
        ({"data": b""}, (400, None, "empty_file")),
    ],
)
def test_what_is_wrong_is_said_in_openais_words_and_leaves_nothing(
    system: FakeSystem, send: Send, fields: dict[str, Any], expected: tuple[int, str | None, str]
) -> None:
    assert fault_of(send(**fields)) == expected
    assert system.tasks(TaskFilter())[0] == []


def test_fields_without_effect_are_named_in_a_header(spoken: FakeSystem, send: Send) -> None:
    fields = {
        "without_timestamps": "true",
        "languages[]": "en",
        "chunking_strategy[type]": "server_vad",
        "\u00e4; x": "y",
    }
    answer = send(**fields)
    assert (answer.status_code, answer.headers["X-Ignored-Fields"]) == (200, "without_timestamps, languages[]")
    translated = send(TRANSLATIONS, model="base", language="de", stream="true")
    assert translated.headers["X-Ignored-Fields"] == "language, stream"
    assert translated.is_json


def test_a_translation_is_english(spoken: FakeSystem, send: Send) -> None:
    body = send(TRANSLATIONS, model="base", **VERBOSE).get_json()
    assert (body["task"], body["language"], body["text"]) == ("translate", "english", "Good morning, world.")
    assert only_task(spoken).options.task == "translate"
    assert fault_of(send(TRANSLATIONS, model="base.en")) == (400, "model", "invalid_value")


def test_a_failed_or_cancelled_task_is_not_sent_again(system: FakeSystem, send: Send) -> None:
    """OpenAI's clients upload again after 409 and 5xx, unless told otherwise; a busy server is worth another try."""
    system.when_pending = lambda task_id: system.fail(task_id, "engine_error", "It failed.")
    failed = send()
    assert (fault_of(failed), failed.headers["x-should-retry"]) == ((500, None, "engine_error"), "false")
    system.when_pending = system.cancel
    cancelled = send()
    assert (fault_of(cancelled), cancelled.headers["x-should-retry"]) == ((409, None, "task_cancelled"), "false")
    assert "x-should-retry" not in send(temperature="2").headers


def test_who_prefers_so_gets_the_task_at_once(system: FakeSystem, send: Send, client: FlaskClient) -> None:
    headers = {"Prefer": "wait=5, Respond-Async; x=y", "Idempotency-Key": "k"}
    answer = send(headers=headers)
    task = only_task(system)
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "respond-async")
    assert answer.headers["Location"] == f"/api/tasks/{task.id}"
    assert answer.get_json()["task"] == client.get(answer.headers["Location"]).get_json()["task"]
    assert task.status is TaskStatus.PENDING
    again = send(headers=headers)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert again.headers["Task-Id"] == task.id


# --- streams ---------------------------------------------------------------------------------------------------------


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream; comments are skipped."""
    parts = [part for part in text.split("\n\n") if part and not part.startswith(":")]
    events = []
    for part in parts:
        *names, line = part.split("\n")
        events.append(json.loads(line.removeprefix("data: ")))
        kind = events[-1].get("type")
        assert names == ([f"event: {kind}"] if kind else [])
    return events


@pytest.mark.parametrize("response_format", ["json", "text"])
def test_a_stream_has_the_pieces_and_then_the_whole_text(spoken: FakeSystem, send: Send, response_format: str) -> None:
    answer = send(stream="true", response_format=response_format)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert answer.text.startswith(":")  # at once, before anything is known
    *deltas, done = events_of(answer.text)
    assert {delta["type"] for delta in deltas} == {"transcript.text.delta"}
    assert "".join(delta["delta"] for delta in deltas) == "Good morning, world."
    assert done == {
        "type": "transcript.text.done",
        "text": "Good morning, world.",
        "usage": {"type": "duration", "seconds": 55.2},
    }
    assert answer.headers["Task-Id"] == only_task(spoken).id


def test_pieces_come_with_their_windows(system: FakeSystem, send: Send) -> None:
    answer = send(stream="true")
    task = only_task(system)
    assert task.status is TaskStatus.PENDING
    body = answer.iter_encoded()
    assert next(body) == b":\n\n"
    for text in ("One", " two"):
        system.finish_window(task.id, f" {text}" if text == "One" else text)
        while (piece := next(body)) == b":\n\n":
            continue
        assert events_of(piece.decode())[0]["delta"] == text
    system.complete(task.id, " three.")
    delta, done = events_of(b"".join(body).decode())
    assert (delta["delta"], done["text"]) == (" three.", "One two three.")
    answer.close()


def test_an_error_in_the_middle_is_an_event(system: FakeSystem, send: Send) -> None:
    answer = send(stream="true")
    system.fail(only_task(system).id, "engine_error", "It failed.")
    (event,) = events_of(answer.text)
    assert event == {"error": {"message": "It failed.", "type": "server_error", "param": None, "code": "engine_error"}}


def test_a_stream_that_is_closed_cancels_its_task(system: FakeSystem, send: Send) -> None:
    send(stream="true").close()
    assert only_task(system).status is TaskStatus.CANCELLED


@pytest.mark.parametrize("response_format", ["srt", "vtt", "verbose_json"])
def test_whisper_1_ignores_a_stream_of_what_cannot_be_streamed(
    spoken: FakeSystem, send: Send, response_format: str
) -> None:
    answer = send(stream="true", response_format=response_format)
    assert answer.status_code == 200
    assert answer.mimetype != "text/event-stream"


# --- speakers --------------------------------------------------------------------------------------------------------


def complete_with_speakers(system: FakeSystem, name: str | None = None) -> None:
    def complete(task_id: str) -> None:
        system.complete(task_id, " Good morning,", " world.")
        told = with_speakers(system.files.read_transcript(task_id), [Turn(0, 2, 0), Turn(2, 4, 1)])
        system.files.write_transcript(task_id, replace(told, speakers={"S1": None, "S2": name}))

    system.when_pending = complete


DIARIZED = {"model": "gpt-4o-transcribe-diarize", "response_format": "diarized_json", "chunking_strategy": "auto"}


def test_diarized_json_tells_the_speakers_apart(system: FakeSystem, send: Send) -> None:
    complete_with_speakers(system, name="Ann")
    answer = send(**DIARIZED)
    assert answer.get_json() == {
        "task": "transcribe",
        "duration": 55.2,
        "text": "Good morning, world.",
        "segments": [
            {"type": "transcript.text.segment", "id": "seg_001", "start": 0.0, "end": 2.0, "text": "Good morning,",
             "speaker": "A"},
            {"type": "transcript.text.segment", "id": "seg_002", "start": 2.0, "end": 4.0, "text": "world.",
             "speaker": "Ann"},
        ],
        "usage": {"type": "duration", "seconds": 55.2},
    }  # fmt: skip
    assert only_task(system).options.speakers
    assert "X-Ignored-Fields" not in answer.headers


def test_where_they_could_not_be_told_apart_the_text_is_there(spoken: FakeSystem, send: Send) -> None:
    assert {segment["speaker"] for segment in send(**DIARIZED).get_json()["segments"]} == {"unknown"}


def test_segments_with_their_speakers_are_streamed_behind_the_text(system: FakeSystem, send: Send) -> None:
    complete_with_speakers(system)
    events = events_of(send(**DIARIZED, stream="true").text)
    assert [event["type"].rpartition(".")[2] for event in events[-3:]] == ["segment", "segment", "done"]
    assert [event["speaker"] for event in events[-3:-1]] == ["A", "B"]


def test_a_translation_has_no_such_format(spoken: FakeSystem, send: Send) -> None:
    assert fault_of(send(TRANSLATIONS, **DIARIZED))[:2] == (400, "response_format")


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "own"),
    [
        ("whisper-1", "DEFAULT"),
        ("gpt-4o-transcribe", "DEFAULT"),
        ("gpt-4o-mini-transcribe-2025-12-15", "DEFAULT"),
        ("gpt-4o-transcribe-diarize", "DEFAULT"),
        ("base.en", "base.en"),
        ("whisper-large-v3", "large-v3"),
        ("openai/whisper-large-v3-turbo", "turbo"),
        ("Systran/faster-whisper-tiny", "tiny"),
    ],
)
def test_names_of_models(system: FakeSystem, client: FlaskClient, asked: str, own: str) -> None:
    answer = client.get(f"/v1/models/{asked}")
    assert answer.get_json() == {"id": asked, "object": "model", "created": 0, "owned_by": "openai"}
    assert answer.headers["openai-model"] == (system.default_model() if own == "DEFAULT" else own)


def test_a_models_name_in_any_script_can_be_sent(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.b+c@d-1_x", "модель"):
        monkeypatch.setattr(routes, "own_model", lambda _, name=name: name)
        sent = client.get("/v1/models/any").headers["openai-model"]
        assert sent.isascii()
        assert unquote(sent) == name


@pytest.mark.parametrize("asked", ["gpt-4o", "whisper-2", "whisper-whisper-base", "other/whisper-base", "a/b"])
def test_unknown_models_are_not_found(client: FlaskClient, asked: str) -> None:
    assert fault_of(client.get(f"/v1/models/{asked}")) == (404, "model", "model_not_found")


def test_the_list_begins_with_openais_name(client: FlaskClient) -> None:
    body = client.get("/v1/models").get_json()
    names = [model["id"] for model in body["data"]]
    assert (body["object"], names[0]) == ("list", "whisper-1")
    assert {"tiny", "base.en", "large-v3", "turbo"} <= set(names)
