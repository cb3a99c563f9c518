"""`python main.py transcribe --server`, and `tasks` and `models`, against the real server with a fake engine."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cli import remote
from cli.program import run
from cli.server_client import ServerClient, ServerTranscriber
from cli.transcriber import CannotStartError, TaskProgress
from config import Settings
from tests.paths import DATA
from tests.server.conftest import server_in
from tests.web.running_server import RunningServer

KEY = "a" * 40
SOUND = DATA / json.loads((DATA / "manifest.json").read_text())[0]["file"]
Command = Callable[..., int]


def serve_nothing() -> int:
    raise AssertionError("must not serve")


def no_settings() -> Settings:
    raise AssertionError("a server needs no settings here")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with server_in(tmp_path_factory.mktemp("server"), API_KEYS=f"alice:{KEY}") as running, running.outliving_tests():
        yield running


@pytest.fixture
def command(server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs one command in a folder of its own; returns the exit code."""
    monkeypatch.setenv("WHISPER_SERVER", server.address)
    monkeypatch.setenv("WHISPER_API_KEY", KEY)
    monkeypatch.setattr(ServerTranscriber, "poll_s", 0.02)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run([str(each) for each in arguments], serve=serve_nothing, load=no_settings)


@pytest.fixture
def client(server: RunningServer) -> Iterator[ServerClient]:
    with ServerClient(server.address, KEY) as one:
        yield one


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:7777"),
        ("0.0.0.0", "http://127.0.0.1:7777"),
        ("192.168.1.5", "http://192.168.1.5:7777"),
        ("::1", "http://[::1]:7777"),
    ],
)
def test_the_server_of_this_machine_is_found_by_its_settings(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, host: str, address: str
) -> None:
    def connect(server: str, key: str) -> ServerClient:
        asked.append(server)
        raise CannotStartError("enough")

    asked: list[str] = []
    monkeypatch.delenv("WHISPER_SERVER", raising=False)
    monkeypatch.setattr(remote, "ServerClient", connect)
    load = partial(make_settings, host=host, port=7777)
    for command in (["tasks", "list"], ["models", "list"]):
        assert run(command, serve=serve_nothing, load=load) == 3
    assert asked == [address, address]


def latest(client: ServerClient) -> dict[str, Any]:
    return client.call("GET", "api/tasks", query={"limit": "1"})["tasks"][0]


def test_a_recording_is_sent_and_its_transcripts_are_written(command: Command, client: ServerClient) -> None:
    line = "--language English --logprob_threshold None --temperature 0.2 --hotwords Grüße -f srt -f docx -o out"
    assert command("transcribe", SOUND, *line.split()) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [f"{SOUND.stem}.docx", f"{SOUND.stem}.srt"]
    options = latest(client)["options"]
    assert (options["logprob_threshold"], options["temperature"], options["hotwords"]) == (None, 0.2, "Grüße")


def test_bad_files_and_bad_options_have_the_same_exit_codes_as_here(
    command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("notes.mp3").write_text("no sound at all")
    Path("empty.mp3").touch()
    assert command("transcribe", "notes.mp3", "empty.mp3", SOUND, "-f", "txt") == 1
    assert command("transcribe", SOUND, "--model", "huge") == 2
    shown = capfd.readouterr().err
    assert "notes.mp3: " in shown
    assert "empty.mp3: The file is empty." in shown
    assert "--model: " in shown


def test_a_wrong_key_cannot_start(
    command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WHISPER_API_KEY", "b" * 40)
    assert command("transcribe", SOUND) == 3
    assert "WHISPER_API_KEY" in capfd.readouterr().err


def test_an_interrupt_cancels_the_task_on_the_server(
    command: Command, client: ServerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def progress(self: ServerTranscriber, task_id: str) -> TaskProgress:
        raise KeyboardInterrupt

    monkeypatch.setattr(ServerTranscriber, "progress", progress)
    assert command("transcribe", SOUND, "--initial-prompt", "window_s=0.5") == 130
    assert latest(client)["status"] == "cancelled"


def test_an_upload_goes_on_where_its_connection_broke(client: ServerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    original, breaks = ServerClient._patch, iter([True])

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise ConnectionResetError
            return super().read(10_000)

    def patch(self: ServerClient, path: str, file: Any, offset: int, length: int) -> str:
        return original(self, path, Broken(file.read()) if next(breaks, False) else file, offset, length)

    monkeypatch.setattr(ServerClient, "_patch", patch)
    task_id = client.upload(SOUND, "broken.flac", {})
    assert client.call("GET", f"api/tasks/{task_id}")["task"]["size_bytes"] == SOUND.stat().st_size


def test_tasks_are_listed_shown_retried_and_deleted(
    command: Command, client: ServerClient, capfd: pytest.CaptureFixture[str]
) -> None:
    task_id = client.upload(SOUND, "listed.flac", {"initial_prompt": "window_s=0.5"})
    assert command("tasks", "cancel", task_id) == 0
    assert command("tasks", "list", "--limit", "1", "--status", "cancelled") == 0
    shown = capfd.readouterr().out
    assert f"{task_id}  cancelled" in shown
    assert shown.rstrip().endswith("listed.flac")
    assert command("tasks", "retry", task_id) == 0
    capfd.readouterr()
    assert command("tasks", "show", task_id) == 0
    assert json.loads(capfd.readouterr().out)["id"] == task_id
    assert command("tasks", "delete", task_id, "unknown") == 1
    assert "unknown: " in capfd.readouterr().err
    assert command("tasks", "show", task_id) == 1


def test_what_cannot_be_used_of_the_models_that_were_brought_is_listed_with_its_reason(
    command: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"name": "mine", "fault": "damaged", "reason": "It cannot be used: mine.pt is cut off."}
    answer = {"models": [], "default": "base", "broken_models": [broken]}
    monkeypatch.setattr(ServerClient, "call", lambda *_: answer)
    assert command("models", "list") == 0
    assert capfd.readouterr().out.splitlines()[1].split(maxsplit=1) == ["mine", broken["reason"]]


def test_models_are_listed_and_an_unknown_one_is_refused(command: Command, capfd: pytest.CaptureFixture[str]) -> None:
    assert command("models", "list") == 0
    assert any(
        line.split()[0] == "tiny.en" and line.endswith("here, the default")
        for line in capfd.readouterr().out.splitlines()
    )
    assert command("models", "fetch", "huge") == 1
    assert command("models", "list", "--server", "localhost") == 3


def test_a_damaged_recording_is_named_as_without_a_server(command: Command, capfd: pytest.CaptureFixture[str]) -> None:
    assert command("transcribe", DATA / "cases" / "cut.webm", "-f", "txt", "-q") == 0
    assert "cut.webm: The file is cut off or damaged" in capfd.readouterr().err
