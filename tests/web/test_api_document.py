"""docs/api.md against the OpenAPI description and the errors, its examples too. See `test_live_document`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient

import errors
from optimizer.tasks import timeline
from optimizer.tasks.batches import Batch
from optimizer.tasks.start_reason import StartReason
from optimizer.tasks.task import Priority, TaskOptions
from tests.web.api_description import ApiDescription, Operation
from tests.web.api_document import PATH, Document, Section, codes
from tests.web.fake_system import FakeSystem
from tests.web.requests import RECORDING, error_of
from web.application import live_feed_of
from web.http.errors import status_of
from web.server import refusals
from whisper_core.editing.edits import SetText

OPTIMIZER = PATH.parent.parent / "optimizer"
SERVER = "http://127.0.0.1:5552"


@pytest.fixture
def pairs(document: Document, description: ApiDescription) -> list[tuple[Operation, Section]]:
    sections = {section.title: section for section in document.operations()}
    return [(operation, sections[str(operation)]) for operation in description.operations()]


# --- calls -----------------------------------------------------------------------------------------------------------


def test_every_operation_has_its_section_and_no_section_is_of_another(
    document: Document, description: ApiDescription
) -> None:
    documented = [section.title for section in document.operations()]
    assert sorted(documented) == sorted(map(str, description.operations()))


def test_every_parameter_is_named_and_no_other(pairs: list[tuple[Operation, Section]]) -> None:
    for operation, section in pairs:
        named = {code for name, *_ in section.table("parameter") for code in codes(name)}
        assert named == operation.parameters, str(operation)


def test_every_status_is_named_and_no_other(pairs: list[tuple[Operation, Section]]) -> None:
    for operation, section in pairs:
        assert {status for status, _ in section.table("answer")} == set(operation.responses), str(operation)


def test_codes_that_an_answer_names_are_of_its_status(
    document: Document, pairs: list[tuple[Operation, Section]]
) -> None:
    statuses = {codes(code)[0]: status for code, status, *_ in document.marked("codes of answers")}
    for operation, section in pairs:
        for status, words in section.table("answer"):
            wrong = [code for code in codes(words) if statuses.get(code, status) != status]
            assert wrong == [], f"{operation} {status}"


def test_every_field_of_every_answer_is_named_and_no_other(document: Document, description: ApiDescription) -> None:
    """A field whose object has no table of its own is followed by that object's fields: `memory.peak_bytes`."""
    tables = document.marks("fields of")
    told = set(tables)
    for name in tables:
        named = [codes(field)[0] for field, *_ in document.marked(f"fields of {name}")]
        assert sorted(named) == sorted(_fields(description, name, tables, told)), name
    assert told == description.answer_schemas()


def test_every_example_answer_is_as_described(
    pairs: list[tuple[Operation, Section]], description: ApiDescription
) -> None:
    for operation, section in pairs:
        schemas = [operation.json_schema(status) for status in operation.responses if status.startswith("2")]
        examples = section.examples("json")
        assert bool(examples) == any(schemas), f"{operation} has no example, or one too many"
        for example in examples:
            assert description.faults(schemas[0], json.loads(example)) == [], str(operation)


def test_every_example_is_looked_at(document: Document) -> None:
    everywhere = Section("all", document.text).examples("json")
    looked_at = [*document.operations(), document.section("Errors"), document.section("Live feed")]
    assert len(everywhere) == sum(len(section.examples("json")) for section in looked_at)


def test_every_example_call_is_accepted(
    pairs: list[tuple[Operation, Section]], client: FlaskClient, system: FakeSystem
) -> None:
    system.when_pending = system.complete  # some calls wait for their task's end
    for operation, section in pairs:
        calls = section.examples("sh")
        assert calls, f"{operation} has no example"
        for call in calls:
            task_id = _task_for(system, operation)
            method, address, sent = _read_curl(_with_share(call, system, task_id), task_id)
            assert _is_of(operation, method, address), call
            with client.open(address, method=method, **sent) as answer:
                assert str(answer.status_code) in operation.responses, call
                assert answer.status_code < 300, (call, answer.get_data(as_text=True))


def _fields(description: ApiDescription, name: str, tables: list[str], told: set[str]) -> Iterator[str]:
    for field, schema in description.schema(name)["properties"].items():
        yield field
        inner, suffix = _object_in(schema)
        if inner is not None and inner not in tables and "properties" in description.schema(inner):
            told.add(inner)
            for each in _fields(description, inner, tables, told):
                yield f"{field}{suffix}.{each}"


def _object_in(schema: dict[str, Any]) -> tuple[str | None, str]:
    """The schema that a field holds, and how the document writes where: `[]` for each entry, `.*` for each key."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2], ""
    if "items" in schema:
        return _object_in(schema["items"])[0], "[]"
    if isinstance(schema.get("additionalProperties"), dict):
        return _object_in(schema["additionalProperties"])[0], ".*"
    references = [choice for choice in schema.get("anyOf", []) if "$ref" in choice or "items" in choice]
    return _object_in(references[0]) if references else (None, "")


def _task_for(system: FakeSystem, operation: Operation) -> str:
    """A task in a state in which the call can be made; or a webhook."""
    if operation.path.startswith("/api/batches"):
        upload = system.begin_upload()
        upload.write(RECORDING)
        told = {"options": TaskOptions(model="base"), "priority": Priority.NORMAL, "device": "cpu"}
        system.submit(upload, filename="a.mp3", idempotency_key=None, batch=Batch("interviews"), **told)
        return "interviews"
    if operation.path.startswith("/api/webhooks"):
        return system.webhooks.add("", "https://example.org/", ("task.failed",))[0].id
    task = system.add()
    if operation.path.endswith(("/transcript", "/media", "/shares", "/transcripts.zip", "/speakers")):
        system.complete(task.id, " Hello.")
    elif operation.path.endswith("/retry"):
        system.fail(task.id, "poison", "Not tried again.")
    elif "/edits" in operation.path:
        system.complete(task.id, " Hello.")
        if operation.path.endswith(("/undo", "/redo")):
            system.editor.edit(task.id, 0, [SetText(0, "Hallo.")], "")
        if operation.path.endswith("/redo"):
            system.editor.undo(task.id, 1, "")
    return task.id


def _with_share(command: str, system: FakeSystem, task_id: str) -> str:
    """The command with the id of a link to the task's transcript where it names one."""
    if "$SHARE" not in command:
        return command
    return command.replace("$SHARE", system.shares.add(task_id, None, has_media=False)[0].id)


def _read_curl(command: str, task_id: str) -> tuple[str, str, dict[str, Any]]:
    """Method, address, and what else Flask's client must be given."""
    assert "$ID" not in "".join(re.findall("'[^']*'", command)), f"{command} would not put the id in"
    words = iter(shlex.split(command.replace("$ID", task_id)))
    assert next(words) == "curl"
    method, address, sent = "GET", "", dict[str, Any](headers={})
    for word in words:
        match word:
            case "-i":
                continue
            case "-o":
                next(words)
            case "-X":
                method = next(words)
            case "-H":
                name, value = next(words).split(": ")
                sent["headers"][name] = value
            case "-d":
                sent["data"] = next(words)
            case "-F":
                name, value = next(words).split("=")
                form = sent.setdefault("data", {})
                form[name] = (BytesIO(RECORDING), value[1:]) if value.startswith("@") else value
                method = "POST"
            case _:
                assert word.startswith(SERVER), word
                address = word.removeprefix(SERVER)
    return method, address, sent


def _is_of(operation: Operation, method: str, address: str) -> bool:
    url = urlsplit(address)
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(operation.path))
    is_path = re.fullmatch(pattern, url.path) is not None
    return method == operation.method and is_path and set(parse_qs(url.query)) <= operation.parameters


# --- codes -----------------------------------------------------------------------------------------------------------


def _error_classes(top: type[errors.TranscriptionServerError]) -> list[type[errors.TranscriptionServerError]]:
    below = [each for child in top.__subclasses__() for each in _error_classes(child)]
    return [top, *below] if top.__module__ == errors.__name__ else below


def _first_codes(document: Document, what: str) -> set[str]:
    return {codes(code)[0] for code, *_ in document.marked(what)}


def test_every_error_that_a_call_answers_is_named_with_its_status(
    document: Document, client: FlaskClient, system: FakeSystem, app: Any
) -> None:
    apart = (errors.TaskError, errors.StartError)
    classes = [each for each in _error_classes(errors.TranscriptionServerError) if not issubclass(each, apart)]
    expected = {(each.code, str(int(status_of(each))), "yes" if each.is_retryable else "no") for each in classes}
    named = {(codes(code)[0], status, retry) for code, status, retry, _ in document.marked("codes of answers")}
    assert expected <= named
    of_http = {code: int(status) for code, status, _ in named - expected}
    own = {each.code for each in classes}
    of_front = {each.code: each.status.value for each in refusals.ALL if each.code not in own}
    assert of_http == {**_errors_of_http(client, system, app), **of_front}


def _errors_of_http(client: FlaskClient, system: FakeSystem, app: Any) -> dict[str, int]:
    """Those that have no class of their own, by asking for them."""
    media = f"/api/tasks/{system.add().id}/media"
    live_feed_of(app).close_connections()
    answers = [
        client.get("/healthz", headers={"Host": "elsewhere.example"}),
        client.post("/api/models/base/fetch", headers={"Origin": "http://elsewhere.example"}),
        client.put("/api/tasks"),
        client.patch("/api/uploads/x", headers={"Tus-Resumable": "1.0.0"}),
        client.get(media, headers={"Range": "bytes=1000-"}),
        client.get("/socket.io/?EIO=4&transport=polling"),
    ]
    return {code: status for status, code, _ in map(error_of, answers)}


def test_every_error_of_a_task_is_named_with_whether_it_is_tried_again(document: Document) -> None:
    expected = {(each.code, "yes" if each.is_retryable else "no") for each in _error_classes(errors.TaskError)}
    assert {(codes(code)[0], again) for code, again, _ in document.marked("codes of tasks")} == expected


def test_every_error_of_the_start_is_named_with_its_exit_code(document: Document) -> None:
    classes = [each for each in _error_classes(errors.StartError) if issubclass(each, errors.StartError)]
    expected = {(each.code, str(each.exit_code)) for each in classes}
    assert {(codes(code)[0], exit_code) for code, exit_code, _ in document.marked("codes of the start")} == expected


def test_the_example_of_an_error_is_as_described(document: Document, description: ApiDescription) -> None:
    (example,) = document.section("Errors").examples("json")
    assert description.faults(description.schema("ErrorAnswer"), json.loads(example)) == []


def test_every_reason_to_wait_is_named(document: Document, description: ApiDescription) -> None:
    assert _first_codes(document, "codes of waiting") == set(description.schema("WaitCode")["enum"])


def test_every_code_of_a_timeline_is_named(document: Document) -> None:
    assert _first_codes(document, "codes of the timeline") == set(timeline._SENTENCES)


def test_every_reason_for_a_start_is_named(document: Document) -> None:
    meanings = {codes(code)[0]: meaning for code, _, meaning in document.marked("codes of the timeline")}
    reasons = meanings["started"].partition("`reason`: ")[2].partition(";")[0]
    assert set(codes(reasons)) == {reason.value for reason in StartReason}


def test_every_code_of_advice_is_named(document: Document) -> None:
    given = {code for path in OPTIMIZER.rglob("*.py") for code in re.findall(r'Advice\(\s*"(\w+)"', path.read_text())}
    assert _first_codes(document, "codes of advice") == given


def test_every_kind_of_event_is_named(document: Document, description: ApiDescription) -> None:
    kinds = description.schema("SystemEventBody")["properties"]["kind"]["enum"]
    assert _first_codes(document, "kinds of events") == set(kinds)
