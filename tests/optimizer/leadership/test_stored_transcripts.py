"""Transcripts beside the leader: the same as it would answer, and nothing of them is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from errors import TaskNotFoundError
from optimizer.leadership.stored_transcripts import reader_beside_leader
from optimizer.storage.store import TaskStore
from optimizer.tasks.events import EventBus, TaskDeleted
from optimizer.tasks.task import TaskOptions
from optimizer.views.transcripts import TranscriptReader, TranscriptViews
from tests.databases import Databases, used_of
from tests.optimizer.editing.conftest import ORIGINAL, Desk
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import running_queue, window
from tests.postgresql_server import PostgresqlServer
from whisper_core.editing.edits import SetText
from whisper_core.text.turns import Turn


@pytest.fixture
def databases(postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Databases]:
    with used_of(postgresql, monkeypatch) as databases:
        yield databases


@pytest.fixture
def desk(databases: Databases, tmp_path: Path) -> Iterator[Desk]:
    """The leader's."""
    with running_queue(tmp_path, clock := FakeClock()) as queue:
        yield Desk(queue, tmp_path, clock)


@pytest.fixture
def events() -> EventBus:
    return EventBus()


@pytest.fixture
def reader(desk: Desk, events: EventBus, databases: Databases, tmp_path: Path) -> Iterator[TranscriptReader]:
    """Another process's."""
    with closing(TaskStore(tmp_path, databases.url_of(tmp_path))) as store:
        yield reader_beside_leader(store, desk.files, desk.clock, events)


def views_of(desk: Desk) -> TranscriptViews:
    return TranscriptViews(desk.queue.manager, desk.files, None, desk.editor)  # type: ignore[arg-type]


def test_a_completed_transcript_is_the_leaders_before_and_after_an_edit(desk: Desk, reader: TranscriptReader) -> None:
    desk.add_completed("a")
    assert reader.transcript("a") == views_of(desk).transcript("a")
    desk.editor.edit("a", 0, [SetText(0, " Hello the world.")], "me")
    edited = reader.transcript("a")
    assert edited == views_of(desk).transcript("a")
    assert edited[0].segments[0].text == " Hello the world."
    assert reader.transcript("a", is_original=True) == views_of(desk).transcript("a", is_original=True)


def test_of_an_unfinished_one_there_is_what_the_leader_has_saved(desk: Desk, reader: TranscriptReader) -> None:
    desk.queue.submit("a")
    task = desk.queue.claim("a")
    desk.queue.manager.save_window("a", task.lease_token or "", window(0))
    transcript, is_partial = reader.transcript("a")
    assert (transcript, is_partial) == views_of(desk).transcript("a")
    assert (transcript.text, is_partial) == (" Hello.", True)


def test_speakers_that_nobody_has_noted_are_shown_and_left_to_the_leader(desk: Desk, reader: TranscriptReader) -> None:
    found = replace(ORIGINAL, turns=(Turn(0, 4, 0), Turn(4, 12, 1)))
    desk.add_completed("a", found, options=TaskOptions(model="base", speakers=True))
    assert [segment.speaker for segment in reader.transcript("a")[0].segments] == ["S1", "S2", "S2"]
    assert desk.editor.steps("a", 10) == []


def test_nothing_is_kept_of_a_deleted_one(desk: Desk, reader: TranscriptReader, events: EventBus) -> None:
    desk.add_completed("a")
    desk.editor.edit("a", 0, [SetText(0, " Hello the world.")], "me")
    reader.transcript("a")
    kept = reader._editor._texts._kept
    assert list(kept) == ["a"]
    desk.queue.manager.delete("a")
    events.publish(TaskDeleted("a"))
    assert list(kept) == []
    with pytest.raises(TaskNotFoundError):
        reader.transcript("a")
