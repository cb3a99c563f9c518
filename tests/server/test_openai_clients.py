"""OpenAI's own package for Python against the real program, with a fake engine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from tests.paths import SHORT
from tests.server.client import Client
from tests.server.conftest import server_in
from tests.web.running_server import RunningServer

pytestmark = pytest.mark.server

AT_ONCE = 20
SLOW = "window_s=0.5"  # to the fake engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with server_in(tmp_path_factory.mktemp("server")) as running, running.outliving_tests():
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="any", timeout=60, max_retries=0) as client:
        yield client


def test_every_answer_is_read_into_the_packages_own_types(client: openai.OpenAI, server: RunningServer) -> None:
    assert "whisper-1" in [model.id for model in client.models.list()]
    plain = client.audio.transcriptions.create(model="whisper-1", file=SHORT)
    task = Client(server).get("/api/tasks").json()["tasks"][0]
    assert plain.text == Client(server).transcript(task["id"])["text"].strip() != ""
    verbose = client.audio.transcriptions.create(
        model="tiny.en", file=SHORT, response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert (verbose.text, verbose.language, verbose.words) == (plain.text, "english", None)
    assert verbose.segments is not None
    assert verbose.segments[0].tokens != []
    srt = client.audio.transcriptions.create(
        model="whisper-1", file=SHORT, response_format="srt", extra_body={"max_line_width": 1}
    )
    assert srt.splitlines()[2:] == [*plain.text.split(), ""]
    with pytest.raises(openai.NotFoundError) as unknown:
        client.audio.transcriptions.create(model="gpt-5", file=SHORT)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")


def test_a_stream_ends_with_the_whole_text(client: openai.OpenAI, five_minutes: Path) -> None:
    with client.audio.transcriptions.create(model="gpt-4o-transcribe", file=five_minutes, stream=True) as stream:
        *deltas, done = stream
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas if event.type == "transcript.text.delta") == done.text != ""


def test_many_at_once_get_their_texts(client: openai.OpenAI) -> None:
    def text(_: int) -> str:
        return client.audio.transcriptions.create(model="whisper-1", file=SHORT).text

    with ThreadPoolExecutor(AT_ONCE) as threads:
        texts = list(threads.map(text, range(AT_ONCE)))
    assert texts == [texts[0]] * AT_ONCE


def test_a_client_that_stops_reading_cancels_its_task(
    client: openai.OpenAI, server: RunningServer, five_minutes: Path
) -> None:
    """So does one that gives up waiting. It is not told that its task failed, so nothing is sent twice."""
    files = [five_minutes, five_minutes]
    with client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=files[0], stream=True, prompt=SLOW
    ) as stream:
        next(iter(stream))
    with pytest.raises(openai.APITimeoutError):
        client.audio.transcriptions.create(model="whisper-1", file=files[1], prompt=SLOW, timeout=2)
    tasks = Client(server).get("/api/tasks", limit="2").json()["tasks"]
    for task in tasks:
        Client(server).wait_for(task["id"], "cancelled")


def test_a_failed_task_is_not_sent_again(server: RunningServer) -> None:
    before = len(Client(server).get("/api/tasks", limit="200").json()["tasks"])
    with (
        openai.OpenAI(base_url=f"{server.address}/v1", api_key="any", timeout=60, max_retries=2) as client,
        pytest.raises(openai.InternalServerError) as failed,
    ):
        client.audio.transcriptions.create(model="whisper-1", file=SHORT, prompt="fail=poison")
    assert failed.value.code == "poison"
    assert len(Client(server).get("/api/tasks", limit="200").json()["tasks"]) == before + 1
