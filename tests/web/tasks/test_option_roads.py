"""Every option of a task goes every way that options go, and tells apart requests that differ in it alone.

The cases are the fields of TaskOptions: an option that is added has to be added here, and then to what it fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli.local_system import LocalTranscriber
from cli.option_types import YES_NO
from cli.server_client import ServerTranscriber
from cli.transcribe_options import task_options
from config import Settings
from errors import IdempotencyMismatchError
from optimizer.intake.task_form import OPTION_FIELDS, read_task_form
from optimizer.queue.changes import find_earlier
from optimizer.storage import mapping
from optimizer.tasks.task import NewTask, TaskOptions
from tests.optimizer.queue.helpers import new_task
from tests.optimizer.values import processing_task
from tests.paths import ROOT
from web.adapters.openai.form import OWN_OPTIONS
from web.http.answer_schemas import Options
from whisper_core.models.registry import ModelRegistry
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker.messages import RunTask, decode, encode


@dataclass(frozen=True)
class Case:
    text: str  # in a form
    value: Any
    beside: tuple[tuple[str, str], ...] = ()  # what it needs


CASES = {
    "model": Case("tiny.en", "tiny.en"),
    "language": Case("de", "de"),
    "task": Case("translate", "translate"),
    "initial_prompt": Case("Ann", "Ann"),
    "word_timestamps": Case("true", True),
    "temperature": Case("0.4", 0.4),
    "mode": Case("vad", "vad"),
    "carry_initial_prompt": Case("true", True),
    "hotwords": Case("Ann", "Ann"),
    "condition_on_previous_text": Case("false", False),
    "compression_ratio_threshold": Case("1.5", 1.5),
    "logprob_threshold": Case("none", None),
    "no_speech_threshold": Case("0.5", 0.5),
    "hallucination_silence_threshold": Case("2", 2.0, (("word_timestamps", "true"),)),
    "clip_timestamps": Case("2,3", "2,3"),
    "beam_size": Case("5", 5),
    "best_of": Case("5", 5),
    "patience": Case("2", 2.0, (("beam_size", "5"),)),
    "length_penalty": Case("0.5", 0.5),
    "suppress_tokens": Case("none", ""),
    "detect_language": Case("first_speech", "first_speech"),
    "vad_filter": Case("true", True),
    "track": Case("2", "2"),
    "speakers": Case("true", True),
    "num_speakers": Case("3", 3, (("speakers", "true"),)),
}
OPENAIS = {  # OpenAI's field, or address, for it
    "model": "model", "language": "language", "task": "translations", "initial_prompt": "prompt",
    "temperature": "temperature", "word_timestamps": "timestamp_granularities",
}  # fmt: skip
OF_TRANSCRIBING = {field.name for field in fields(TranscribeOptions)}
every_option = pytest.mark.parametrize("name", CASES)
Read = Callable[[dict[str, str]], TaskOptions]


@pytest.fixture
def read(make_settings: Callable[..., Settings]) -> Read:
    """What a form becomes, of an upload in one request or in several."""
    return lambda form: read_task_form(form.items(), make_settings(), ["cpu"], ModelRegistry(), "base").options


def with_and_without(read: Read, name: str) -> tuple[TaskOptions, TaskOptions]:
    beside = dict(CASES[name].beside)
    return read({**beside, name: CASES[name].text}), read(beside)


def test_there_is_a_case_for_every_option() -> None:
    assert set(CASES) == {field.name for field in fields(TaskOptions)}


@every_option
def test_a_form_can_have_it(read: Read, name: str) -> None:
    chosen, plain = with_and_without(read, name)
    assert getattr(chosen, name) == CASES[name].value != getattr(plain, name)
    assert chosen != plain


@every_option
def test_a_key_that_comes_again_with_another_value_is_refused(read: Read, name: str) -> None:
    """So nobody is given the text that was made with other options."""
    chosen, plain = with_and_without(read, name)
    for first, second in ((chosen, plain), (plain, chosen)):
        task = processing_task(sha256="0" * 64, options=first, idempotency_key="k")
        rows = cast(Any, SimpleNamespace(find_by_key=lambda owner, key, task=task: task))
        again: Callable[[TaskOptions], NewTask] = lambda options: new_task(  # noqa: E731
            "b", sha256="0" * 64, options=options, idempotency_key="k"
        )
        assert find_earlier(rows, again(first)) == task
        with pytest.raises(IdempotencyMismatchError):
            find_earlier(rows, again(second))


@every_option
def test_the_database_keeps_it(read: Read, name: str) -> None:
    """For every later attempt, and for a task that is started over."""
    chosen, plain = with_and_without(read, name)
    stored = mapping._field_to_column(chosen)
    assert mapping._read_options(stored) == chosen
    assert stored != mapping._field_to_column(plain)


@every_option
def test_the_worker_is_told_of_it(read: Read, name: str) -> None:
    chosen, plain = with_and_without(read, name)
    if name not in OF_TRANSCRIBING:
        return  # the model is named beside the options, and of the file there are samples
    command = RunTask("T1", "lease", chosen.model, "T1.pcm", chosen.transcribe)
    received = decode(encode(command))
    assert received == command
    assert isinstance(received, RunTask)
    assert received.options != plain.transcribe
    assert getattr(received.options, name) == CASES[name].value


@every_option
def test_the_answers_describe_it(name: str) -> None:
    assert name in Options.model_fields
    default = Options.model_fields[name].default
    if name in OF_TRANSCRIBING and not Options.model_fields[name].is_required():
        assert default == getattr(TranscribeOptions(), name)


@every_option
def test_openais_clients_can_send_it(name: str) -> None:
    assert (name in OPENAIS) != (name in OWN_OPTIONS)


@every_option
def test_the_command_line_has_it_and_makes_the_same_task_here_and_on_a_server(
    read: Read, make_settings: Callable[..., Settings], tmp_path: Path, name: str
) -> None:
    given = {option.name: option for option in task_options()}
    chosen, _ = with_and_without(read, name)
    command_line = [*CASES[name].beside, (name, CASES[name].text.replace("none", "None"))]
    if name == "suppress_tokens":
        command_line = [(name, "")]
    values = {key: given[key].type.convert(text, given[key], None) for key, text in command_line}
    assert (given[name].type is YES_NO) == isinstance(CASES[name].value, bool)

    sent: dict[str, str] = {}
    client = SimpleNamespace(upload=lambda source, filename, form: sent.update(form))
    ServerTranscriber(cast(Any, client)).submit(tmp_path, "a.wav", values)
    assert read(sent) == chosen

    settings = make_settings(default_model="base")
    models = SimpleNamespace(models=ModelRegistry())
    system = SimpleNamespace(
        admission=models, settings=settings, default_model=lambda: "base", device_names=lambda: ["cpu"]
    )
    assert LocalTranscriber(cast(Any, system))._read(values).options == chosen


@every_option
def test_the_documents_name_it(name: str) -> None:
    table = (ROOT / "docs" / "api.md").read_text().partition("### POST /api/tasks")[2].partition("\n### ")[0]
    assert f"| `{name}` | form" in table
    assert name in OPTION_FIELDS


@every_option
def test_the_page_can_send_it(name: str) -> None:
    modules = ("state/upload-options.js", "state/advanced-options.js", "api.js")
    text = "".join((ROOT / "static" / module).read_text() for module in modules)
    assert re.search(rf"\b{name}\b", text)
