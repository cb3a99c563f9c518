"""A watched folder: which files become tasks, what is written where, and that nothing is done twice or lost."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from errors import InvalidSettingsError, TrackNotFoundError, UnsupportedMediaError
from optimizer.common import failpoints
from optimizer.common.failpoints import FAILPOINTS
from optimizer.tasks.task import Task, TaskStatus
from optimizer.views.rendering import render_transcript_of
from optimizer.watching import watcher as watching
from optimizer.watching.found_files import recordings_below
from optimizer.watching.watch_store import WatchStore
from tests.optimizer.fakes import FakeClock
from tests.optimizer.watching.rig import BAD, CrashError, Rig
from whisper_core.text.turns import Turn

MakeRig = Callable[..., Rig]
STEPS = [name for name in FAILPOINTS if name.startswith("watch.")]
# Where, at which hit there, and what becomes of recordings
KILLS = [
    *((step, 1, "move") for step in STEPS),
    ("watch.before_publish", 2, "keep"),  # the second format
    ("watch.before_original", 1, "delete"),
    ("watch.original", 1, "delete"),
]


@pytest.fixture
def make_rig(tmp_path: Path, clock: FakeClock, make_settings: Callable[..., Settings]) -> Iterator[MakeRig]:
    made: list[Rig] = []

    def make(folder: str = "", **values: Any) -> Rig:
        max_queued = values.pop("max_queued", 1000)
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        data: Any = partial(make_settings, data_dir=root / "data")
        made.append(Rig(root, clock, data, values, max_queued))
        return made[-1]

    yield make
    for rig in made:
        rig.queue.store.close()


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig()


def crash_at(hit: int, hits: Iterator[int]) -> None:
    if next(hits) == hit:
        raise CrashError


def test_recordings_become_tasks_and_everything_else_is_left(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.mp3").write_bytes(b"not for us")
    for path in ("a.mp3", "sub/deep/B.WAV", "done/old.mp3"):
        rig.put(path, path.encode())
    for path in (
        "notes.txt",
        "x.mp3.part",
        ".hidden.mp3",
        "~x.mp3",
        ".stversions/x.mp3",
        "#recycle/x.mp3",
        "Talk 12.30",
    ):
        rig.put(path)
    rig.put("empty.mp3", b"")
    os.symlink(tmp_path / "elsewhere", rig.folder / "link")
    os.symlink(tmp_path / "elsewhere" / "secret.mp3", rig.folder / "link.mp3")
    os.mkfifo(rig.folder / "pipe.mp3")
    rig.look(3)
    assert sorted((task.filename, task.owner) for task in rig.tasks()) == [("B.WAV", "watch"), ("a.mp3", "watch")]
    rig.complete_all()
    assert {"a.txt", "a.srt", "sub/deep/B.txt", "sub/deep/B.srt", "a.mp3", "sub/deep/B.WAV"} <= set(rig.names())
    rig.start()
    rig.look(3)
    assert len(rig.tasks()) == 2
    assert not [name for name in rig.names() if name.endswith(".tmp")]


@pytest.mark.proves("F50")
def test_a_kill_at_any_step_neither_loses_a_recording_nor_does_it_twice(make_rig: MakeRig) -> None:
    crashes = []
    for case, (step, hit, when_done) in enumerate(KILLS):
        rig = make_rig(str(case), watch_when_done=when_done)
        rig.put("a.mp3")
        failpoints.arm({step: partial(crash_at, hit, itertools.count(1))})
        for _ in range(4):
            try:
                rig.look()
                rig.complete_all()
            except CrashError:
                crashes.append(case)
                failpoints.disarm()
                rig.start()
        rig.look()
        assert [task.status for task in rig.tasks()] == [TaskStatus.COMPLETED], step
        left = {"keep": ["a.mp3"], "move": ["done/a.mp3"], "delete": []}[when_done]
        assert rig.names() == sorted(["a.srt", "a.txt", *left]), step
        assert [path.name for path in (rig.root / "data" / "media").iterdir()] == [rig.tasks()[0].id], step
    assert crashes == list(range(len(KILLS)))


def test_a_file_is_taken_once_it_has_not_changed_for_a_while(rig: Rig, clock: FakeClock) -> None:
    path = rig.put("a.mp3", b"1")
    ahead = clock.now().timestamp() + 86_400  # of a machine whose clock is wrong

    def look_after(seconds: float) -> int:
        clock.advance(seconds)
        rig.watcher.run_due()
        return len(rig.tasks())

    os.utime(path, (ahead, ahead))
    assert look_after(6) == 0
    path.write_bytes(b"12")
    os.utime(path, (ahead, ahead))
    assert [look_after(6), look_after(6), look_after(6)] == [0, 0, 1]


def test_what_changes_after_it_was_taken_is_done_anew_and_its_text_replaced(rig: Rig) -> None:
    rig.put("a.mp3", b"half")
    rig.look(2)
    rig.put("a.mp3", b"whole")
    rig.look(2)
    assert [task.status for task in rig.tasks()] == [TaskStatus.CANCELLED, TaskStatus.PENDING]
    rig.complete_all()
    rig.put("a.mp3", b"whole and longer")
    rig.look(2)
    rig.complete_all()
    assert (rig.folder / "a.txt").read_text() == f"Of {rig.tasks()[2].sha256[:8]}.\n"
    (rig.folder / "a.srt").write_text("corrected by a person")
    rig.put("a.mp3", b"once more")
    rig.look(2)
    rig.complete_all()
    assert (rig.folder / "a.srt").read_text() == "corrected by a person"
    assert rig.names() == ["a.mp3", "a.mp3.srt", "a.srt", "a.txt"]


def test_a_file_with_another_time_and_the_same_content_is_not_done_again(rig: Rig) -> None:
    path = rig.put("a.mp3")
    rig.look(2)
    os.utime(path, (1_000_000_000, 1_000_000_000))  # while its task waits
    rig.look(2)
    rig.complete_all()
    os.utime(path, (1_100_000_000, 1_100_000_000))
    rig.look(2)
    assert [task.status for task in rig.tasks()] == [TaskStatus.COMPLETED]
    assert len(list((rig.root / "data" / "media").iterdir())) == 1


@pytest.mark.parametrize("has_links", [True, False])
def test_no_file_of_anybody_else_is_replaced(rig: Rig, has_links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links on this file system")

    if not has_links:
        monkeypatch.setattr(os, "link", link)
    rig.put("a.txt", b"theirs")
    for name in ("a.mp3", "a.wav", "a.srt.mp3"):
        rig.put(name, name.encode())
    rig.look(2)

    def come_in_between() -> None:
        rig.put("a.srt.srt", b"came in between")

    failpoints.arm({"watch.named": come_in_between})
    rig.complete_all()
    of = {task.filename: f"Of {task.sha256[:8]}.\n" for task in rig.tasks()}
    texts = {name: (rig.folder / name).read_text() for name in rig.names() if name.endswith(".txt")}
    assert texts == {
        "a.txt": "theirs", "a.mp3.txt": of["a.mp3"], "a.wav.txt": of["a.wav"], "a.srt.txt": of["a.srt.mp3"],
    }  # fmt: skip
    assert (rig.folder / "a.srt.srt").read_text() == "came in between"
    assert {"a.srt", "a.wav.srt", "a.srt.mp3.srt"} <= set(rig.names())


def test_a_folder_for_transcripts_repeats_the_folders_and_is_waited_for(make_rig: MakeRig, tmp_path: Path) -> None:
    rig = make_rig(output_dir=str(tmp_path / "out"), watch_formats="json, md", watch_when_done="delete")
    rig.put("sub/a.mp3")
    rig.look(2)
    rig.complete_all()
    assert rig.names() == ["sub/a.mp3"]  # a recording goes only when its text is there
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o775)
    (rig.folder / "sub" / "a.mp3").chmod(0o640)
    before = os.umask(0o077)  # as that of a service
    try:
        rig.look()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out" / "sub").stat().st_mode) == 0o775
    assert stat.S_IMODE((tmp_path / "out" / "sub" / "a.md").stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path / "out" / "sub")) == ["a.json", "a.md"]
    assert rig.names() == []


def test_recordings_that_are_done_are_moved_and_replace_none(make_rig: MakeRig) -> None:
    rig = make_rig(watch_when_done="move")
    for content in (b"monday", b"tuesday"):
        rig.put("sub/REC001.mp3", content)
        rig.look(2)
        rig.complete_all()
    assert rig.names("done") == ["sub/REC001 (2).mp3", "sub/REC001.mp3"]
    assert rig.names("sub") == ["REC001.mp3.srt", "REC001.mp3.txt", "REC001.srt", "REC001.txt"]


def test_a_failure_is_told_in_the_folder_until_there_is_a_text(make_rig: MakeRig) -> None:
    rig = make_rig(watch_when_done="delete")
    rig.put("a.mp3")
    rig.put("b.mp3", BAD)
    rig.look(2)
    (task,) = rig.tasks()
    rig.fail(task)
    rig.look()
    assert rig.names() == ["a.error.txt", "a.mp3", "b.error.txt", "b.mp3"]
    assert "The device ran out of memory." in (rig.folder / "a.error.txt").read_text()
    assert "not an audio or video file" in (rig.folder / "b.error.txt").read_text()
    rig.start()
    rig.look(2)
    assert len(rig.tasks()) == 1
    rig.queue.manager.retry(task.id)
    rig.queue.manager.mark_prepared(task.id, 1.0)
    rig.complete_all()
    rig.put("b.mp3", b"sound now")
    rig.look(2)
    rig.complete_all()
    assert rig.names() == ["a.srt", "a.txt", "b.srt", "b.txt"]


def test_what_a_person_cancels_or_deletes_is_not_begun_again(rig: Rig) -> None:
    for name in ("cancelled.mp3", "deleted-0815.mp3"):
        rig.put(name, name.encode())
    rig.look(2)
    cancelled, deleted = rig.tasks()
    rig.queue.manager.cancel(cancelled.id)
    rig.tell(cancelled)
    rig.delete(deleted.id)
    rig.start()
    rig.look(3)
    assert [task.status for task in rig.tasks()] == [TaskStatus.CANCELLED]
    assert rig.names() == ["cancelled.mp3", "deleted-0815.mp3"]
    rig.queue.store.close()
    assert b"deleted-0815" not in (rig.root / "data" / "tasks.db").read_bytes()


def test_a_folder_of_many_files_fills_neither_queue_nor_disk(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_UNFINISHED", 3)
    rig = make_rig(watch_keep_tasks=False)
    count = watching.MAX_UNFINISHED + 2
    for number in range(count):
        rig.put(f"{number}.mp3", str(number).encode())
    rig.look(2)
    assert len(rig.tasks()) == watching.MAX_UNFINISHED
    rig.complete(rig.tasks()[0])
    rig.watcher.run_due()
    assert len(rig.tasks()) == watching.MAX_UNFINISHED  # another one in the place of the one that is done and gone
    rig.complete_all()
    rig.complete_all()
    rig.look(2)
    assert len(rig.names()) == 3 * count
    assert (rig.tasks(), list((rig.root / "data" / "media").iterdir())) == ([], [])


def test_a_full_queue_is_waited_for(make_rig: MakeRig, caplog: pytest.LogCaptureFixture) -> None:
    rig = make_rig(max_queued=1)
    for number in range(3):
        rig.put(f"{number}.mp3", str(number).encode())
    for done in range(3):
        rig.look(3)
        assert len(rig.tasks()) == done + 1
        rig.complete_all()
    assert len(rig.names()) == 9
    assert "code=queue_full" in caplog.text
    assert "0.mp3" not in caplog.text


def test_options_of_the_settings_reach_the_task_and_wrong_ones_are_waited_for(
    make_rig: MakeRig, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(watch_options="mode=vad; priority=low; initial_prompt=a, b; model=huge", watch_owner="Alice")
    rig.put("a.mp3")
    rig.look(2)
    assert rig.tasks() == []
    assert "code=unknown_model field=model" in caplog.text
    with pytest.raises(InvalidSettingsError, match="WATCH_OPTIONS: model: There is no model"):
        rig.watcher.check()  # at a start; a model may also go while the server runs
    rig.start(watch_options="mode=vad; priority=low; initial_prompt=a, b")
    rig.look(2)
    rig.watcher.check()
    (task,) = rig.tasks()
    assert (task.options.mode, task.options.initial_prompt, task.priority.word) == ("vad", "a, b", "low")
    assert (task.options.language, task.owner) == ("en", "alice")
    rig.complete_all()
    assert rig.names() == ["a.mp3", "a.vad.srt", "a.vad.txt"]


def test_a_transcript_says_who_speaks_where_the_settings_want_that(make_rig: MakeRig) -> None:
    rig = make_rig(watch_options="speakers=true; num_speakers=2")
    rig.put("a.mp3")
    rig.look(3)
    (task,) = rig.tasks()
    assert (task.options.speakers, task.options.num_speakers) == (True, 2)
    rig.complete(task, turns=(Turn(0.0, 1.0, 0),))
    rig.watcher.run_due()
    assert (rig.folder / "a.txt").read_text().startswith("Speaker 1: Of ")


def test_what_is_larger_than_an_upload_may_be_is_refused_without_a_copy(make_rig: MakeRig) -> None:
    rig = make_rig(max_upload_mb=1)
    rig.put("a.mp3", bytes(1_000_001))
    rig.look(2)
    assert rig.tasks() == []
    assert rig.names() == ["a.error.txt", "a.mp3"]


def test_a_file_without_the_track_of_the_settings_holds_up_no_other(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.optimizer.watching.rig.UnsupportedMediaError", lambda: TrackNotFoundError("It has one."))
    rig = make_rig(watch_options="track=de")
    rig.put("a.mp3", BAD)
    rig.put("b.mp3")
    rig.look(2)
    assert [task.filename for task in rig.tasks()] == ["b.mp3"]
    assert "It has one." in (rig.folder / "a.error.txt").read_text()


def test_a_file_that_nobody_foresaw_holds_up_no_other(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unforeseen = "tests.optimizer.watching.rig.UnsupportedMediaError"
    monkeypatch.setattr(unforeseen, lambda: ZeroDivisionError("unforeseen"))
    rig = make_rig()
    for name in ("a.mp3", "b.mp3"):
        rig.put(name, BAD + name.encode())
    rig.put("c.mp3")
    rig.look(2)
    assert [task.filename for task in rig.tasks()] == ["c.mp3"]
    assert caplog.text.count("event=watched_file_failed") == 2
    monkeypatch.setattr(unforeseen, UnsupportedMediaError)
    rig.look(1)
    assert rig.names() == ["a.error.txt", "a.mp3", "b.error.txt", "b.mp3", "c.mp3"]


def test_a_text_that_cannot_be_rendered_holds_up_no_other(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(task: Task, *rest: Any) -> bytes:
        if task.filename == "a.mp3":
            raise ZeroDivisionError
        return render_transcript_of(task, *rest)

    monkeypatch.setattr("optimizer.watching.deliveries.render_transcript_of", render)
    rig = make_rig()
    for name in ("a.mp3", "b.mp3"):
        rig.put(name, name.encode())
    rig.look(2)
    rig.complete_all()
    assert rig.names() == ["a.mp3", "b.mp3", "b.srt", "b.txt"]
    rig.put("c.mp3", b"later")
    rig.look(2)
    assert [task.filename for task in rig.tasks()] == ["a.mp3", "b.mp3", "c.mp3"]


@pytest.mark.proves("S35")
def test_a_folder_that_was_exchanged_for_a_link_leads_nowhere(rig: Rig, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.mp3").write_bytes(b"private")
    for path in ("read/a.mp3", "written/b.mp3"):
        rig.put(path, b"sound")
    rig.look()

    def exchange(name: str) -> None:
        (rig.folder / name).rename(tmp_path / f"{name}-before")
        os.symlink(outside, rig.folder / name)

    found = list(recordings_below(rig.folder))
    rig.watcher._settling.settled(found)
    rig.watcher._ready = found
    exchange("read")  # between the look at it and its opening
    rig.watcher._take_ready()
    assert [task.filename for task in rig.tasks()] == ["b.mp3"]
    exchange("written")
    rig.complete_all()
    assert os.listdir(outside) == ["a.mp3"]


def test_names_may_be_long_and_need_not_be_text(rig: Rig) -> None:
    long_name, odd_name = "ä" * 125 + ".mp3", os.fsdecode(b"caf\xe9.mp3")
    for name in (long_name, odd_name):
        rig.put(name, os.fsencode(name))
    rig.look(2)
    rig.complete_all()
    rig.start()
    rig.look(2)
    assert len(rig.tasks()) == 2
    assert {"ä" * 125 + ".srt", os.fsdecode(b"caf\xe9.srt")} <= set(rig.names())


def test_a_drive_that_is_not_there_is_waited_for(rig: Rig) -> None:
    rig.put("a.mp3")
    rig.look(2)
    rig.complete_all()
    rig.folder.rename(rig.root / "unplugged")
    rig.look(2)
    (rig.root / "unplugged").rename(rig.folder)
    rig.look(3)
    assert len(rig.tasks()) == 1


def test_its_thread_ends_when_it_is_told_to(rig: Rig) -> None:
    rig.watcher.start()
    rig.watcher.stop()
    assert "watched-folder" not in {thread.name for thread in threading.enumerate()}


def test_a_restart_reads_what_was_stored(rig: Rig) -> None:
    rig.put("a.mp3")
    rig.look(2)
    (watched,) = WatchStore(rig.queue.store.database).unfinished()
    assert (watched.found.path, watched.task_id) == ("a.mp3", rig.tasks()[0].id)
