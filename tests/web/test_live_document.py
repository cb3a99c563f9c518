"""The live feed of docs/api.md: its names against the code, its fields against what comes, its client at work."""

from __future__ import annotations

import inspect
import json
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import pytest

from optimizer.tasks.events import EventsMissed
from tests.web.api_description import ApiDescription
from tests.web.api_document import Document, codes
from tests.web.fake_system import FakeSystem
from tests.web.live_client import LiveClient
from tests.web.requests import RECORDING
from web.application import live_feed_of
from web.live import broadcaster
from whisper_core.editing.edits import SetText

LIMIT_S = 90.0  # python-engineio's client rarely takes 30 s to disconnect: its two threads then wait for each other


def test_every_command_and_event_of_the_live_feed_has_its_section(document: Document, app: Any) -> None:
    emitted = set(re.findall(r'_emit\(\s*"(\w+)"', inspect.getsource(broadcaster)))
    handled = set(live_feed_of(app).socketio.server.handlers["/"]) - {"connect", "disconnect"}  # Socket.IO's own
    assert set(document.live("Command")) == handled
    assert set(document.live("Event")) == emitted


def test_commands_and_events_have_the_fields_that_are_named(
    document: Document, description: ApiDescription, live_port: int, system: FakeSystem
) -> None:
    with LiveClient(live_port) as listener:
        task = system.add()
        whole = {"task": listener.next("task"), "system": listener.next("system")}
        for name, command in document.live("Command").items():
            assert {codes(field)[0] for field, _ in command.table("field")} == _fields_read(listener, name, task.id)
        listener.ask("watch", {"id": task.id})
        listener.next("segments")
        system.finish_window(task.id, " Hello.")
        heard = {name: listener.next(name) for name in ("segments", "progress")}
        system.complete(task.id)
        system.editor.edit(task.id, 0, [SetText(0, "Hullo.")], "")
        heard["transcript_edited"] = listener.next("transcript_edited")
        system.delete(task.id)
        heard["deleted"] = listener.next("deleted")
        system.tell(EventsMissed())
        heard["missed"] = listener.next("missed")
        refusal = listener.ask("watch", {"id": "nobody"})
    events = document.live("Event")
    assert set(events) == set(whole) | set(heard)
    assert description.faults(description.schema("TaskBody"), whole["task"]) == []
    assert description.faults(description.schema("SystemAnswer"), whole["system"]) == []
    for name, data in heard.items():
        (example,) = events[name].examples("json")
        named = {codes(field)[0] for field, _ in events[name].table("field")}
        assert set(json.loads(example)) == named == set(data), name
    assert document.section("Commands").examples("json") == [json.dumps(refusal) + "\n"]


def _fields_read(listener: LiveClient, command: str, task_id: str) -> set[str]:
    """Those that the command finds fault with."""
    answers = [listener.ask(command, payload) for payload in ({"id": 7}, {"id": task_id, "from": -1})]
    return {answer["error"]["field"] for answer in answers if answer != {"ok": True}}


class PlayedClient:
    """The document's client as a process of its own: `next_line` waits for what it prints."""

    def __init__(self, code: str, folder: Path, port: int) -> None:
        (folder / "live.py").write_text(code)
        (folder / "interview.flac").write_bytes(RECORDING)
        command = [sys.executable, "live.py", f"http://127.0.0.1:{port}", "interview.flac"]
        with open(folder / "errors.txt", "w") as errors:  # python-engineio's client logs a lost connection there
            self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True)
        self._watchdog = threading.Timer(LIMIT_S, self._process.kill)
        self._watchdog.start()
        assert self._process.stdout is not None
        self._output: IO[str] = self._process.stdout

    def __enter__(self) -> PlayedClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.wait(LIMIT_S)
        self._output.close()
        self._watchdog.join()

    def next_line(self) -> str:
        return self._output.readline().strip()

    def exit_code(self) -> int:
        return self._process.wait(LIMIT_S)


def test_the_client_prints_a_text_as_it_comes_over_gaps_and_lost_connections(
    document: Document,
    tmp_path: Path,
    live_port: int,
    system: FakeSystem,
    app: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = document.section("A client in Python").examples("python")
    watched: queue.Queue[str] = queue.Queue()
    segments_from = system.segments_from

    def noted(task_id: str, first: int) -> Any:
        watched.put(task_id)
        return segments_from(task_id, first)

    monkeypatch.setattr(system, "segments_from", noted)
    with PlayedClient(code, tmp_path, live_port) as client:
        task_id = watched.get(timeout=LIMIT_S)
        system.finish_window(task_id, " One.")
        assert client.next_line().endswith("One.")
        with monkeypatch.context() as silent:
            silent.setattr(system, "tell", lambda _: None)
            system.finish_window(task_id, " Two.")  # nobody hears of it
        system.finish_window(task_id, " Three.")
        assert [client.next_line()[-4:], client.next_line()[-4:]] == ["Two.", "ree."]
        live_feed_of(app).socketio.server.eio.disconnect()
        system.finish_window(task_id, " Four.")
        assert client.next_line().endswith("Four.")
        system.complete(task_id)
        assert client.next_line() == "completed"
        assert client.exit_code() == 0
