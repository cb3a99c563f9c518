"""Whoever listens to the system may fail; the tasks that it listens to go on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.serving import make_server

from optimizer.system import OptimizedWhisperSystem
from optimizer.tasks.events import Event
from optimizer.tasks.task import TaskStatus
from tests.paths import MINUTE, SHORT
from tests.system.conftest import Open, Submit, Watcher
from tests.web.live_client import LiveClient
from web.application import create_app, live_feed_of


@contextmanager
def live_feed(system: OptimizedWhisperSystem) -> Iterator[tuple[Any, int]]:
    """The feed around the system, and the port at which clients can connect to it."""
    app = create_app(system.settings, system)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    feed = live_feed_of(app)
    feed.start()
    try:
        yield feed, server.port
    finally:
        feed.stop()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.proves("F26")
def test_neither_a_listener_nor_an_event_that_cannot_be_sent_costs_a_task_anything(
    open_system: Open, submit: Submit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Event] = []

    def fail(event: Event) -> None:
        told.append(event)
        raise RuntimeError("a mistake of the listener")

    def fail_to_emit(*_: object, **__: object) -> None:
        raise OSError("a mistake of the transport")

    caplog.set_level(logging.ERROR)
    with open_system() as system, live_feed(system) as (feed, port), LiveClient(port) as client:
        system.add_listener(fail)
        watcher = Watcher(system)
        with monkeypatch.context() as patched:
            patched.setattr(feed.socketio.server, "emit", fail_to_emit)
            task = watcher.wait_for(submit(system, MINUTE), TaskStatus.COMPLETED)
            watcher.wait_until(lambda: "event=live_step_failed" in caplog.messages, "an event that could not be sent")
        assert (task.attempt, task.errors, task.windows_done) == (1, (), 3)
        assert len(told) >= 5
        assert caplog.messages.count("event=listener_failed") >= 5
        assert (system.health(), system.readiness()) == ([], [])

        after = submit(system, SHORT)
        while client.next("task")["id"] != after:
            continue
        assert watcher.wait_for(after, TaskStatus.COMPLETED).attempt == 1
