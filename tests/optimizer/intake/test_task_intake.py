"""From an upload to a task: what is accepted, what is refused, and what stays of either."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from sqlalchemy import event

from errors import (
    EmptyFileError,
    FfmpegMissingError,
    IdempotencyInFlightError,
    NoAudioStreamError,
    QueueFullError,
    TranscriptionServerError,
)
from optimizer.intake.decode_line import DecodeRequest
from optimizer.intake.idempotency import IdempotencyKeys
from optimizer.intake.preparer import Preparer
from optimizer.intake.sample_budget import SampleBudget
from optimizer.intake.task_intake import SubmissionRequest, TaskIntake
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import Upload
from optimizer.tasks.task import Priority, TaskOptions, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, running_queue
from whisper_core.audio.decode import DecodedAudio
from whisper_core.audio.tracks import SoundTrack

DECODED = DecodedAudio(seconds=60.0, sample_count=960_000, is_truncated=False)
DAMAGED = NoAudioStreamError()


class FakeDecodePool:
    """Decodes end when the test says so: `outcome` at once, or `futures` by hand. on_start: runs at each start."""

    def __init__(self) -> None:
        self.outcome: DecodedAudio | Exception | None = DECODED
        self.futures: list[Future[DecodedAudio]] = []
        self.requests: list[DecodeRequest] = []
        self.on_start: Callable[[], None] = lambda: None

    def start_decode(self, request: DecodeRequest) -> Future[DecodedAudio]:
        self.on_start()
        self.requests.append(request)
        future: Future[DecodedAudio] = Future()
        match self.outcome:
            case Exception():
                future.set_exception(self.outcome)
            case DecodedAudio():
                future.set_result(self.outcome)
        self.futures.append(future)
        return future

    def num_waiting(self) -> int:
        return sum(not future.done() for future in self.futures)


class Intake:
    def __init__(self, queue: Queue, files: TaskFiles, pool: FakeDecodePool) -> None:
        self.queue, self.files, self.pool = queue, files, pool
        self.track: str | None = None
        self.keys = IdempotencyKeys(lambda *_: None)
        budget = SampleBudget(files, queue.manager.samples.kept_bytes, 10**9)
        self.preparer = Preparer(queue.manager, files, pool, budget, queue.clock)  # type: ignore[arg-type]
        self.intake = TaskIntake(queue.manager, files, self.preparer, max_attempts=3)

    def upload(self, task_id: str, data: bytes = b"sound") -> Upload:
        upload = self.files.begin_upload(task_id)
        upload.write(data)
        return upload

    def accept(self, task_id: str, key: str | None = None, data: bytes = b"sound") -> tuple[str, bool]:
        """As a request does it: from its first byte on it holds its key."""
        with self.keys.holding("", key):
            request = SubmissionRequest(
                "a.mp3", TaskOptions(model="base", track=self.track), Priority.NORMAL, "auto", key
            )
            task, is_replay = self.intake.accept(self.upload(task_id, data), request)
            return task.id, is_replay

    def accept_slow(self, task_id: str) -> Future[DecodedAudio]:
        """A task whose decode is still under way."""
        self.pool.outcome = None
        self.accept(task_id)
        return self.pool.futures[-1]

    def file_names(self) -> list[str]:
        root = self.files.root
        folders = ("incoming", "media", "audio")
        return sorted(f"{name}/{path.name}" for name in folders for path in (root / name).iterdir())


@pytest.fixture
def intake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Intake]:
    monkeypatch.setattr("optimizer.intake.task_intake.DECODE_WAIT_S", 0)
    files = TaskFiles(tmp_path)
    files.acquire_lock()
    with running_queue(tmp_path, FakeClock(), max_queued=2) as queue:
        yield Intake(queue, files, FakeDecodePool())
    files.release_lock()


def test_an_upload_that_is_decoded_at_once_becomes_a_prepared_task(intake: Intake) -> None:
    assert intake.accept("a") == ("a", False)
    assert [task.audio_seconds for task in intake.queue.manager.waiting()] == [60.0]
    assert intake.file_names() == ["media/a"]


def test_a_slow_decode_prepares_its_task_when_it_ends(intake: Intake) -> None:
    future = intake.accept_slow("a")
    assert intake.queue.manager.unprepared() == ["a"]

    future.set_result(DECODED)

    assert intake.queue.manager.unprepared() == []
    assert intake.queue.manager.get("a").audio_seconds == 60.0


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_task_keeps_how_long_its_damaged_recording_claims_to_be(intake: Intake, is_slow: bool) -> None:
    part = DecodedAudio(6.5, 104_000, is_truncated=True, declared_s=13.16)
    if is_slow:
        intake.accept_slow("a").set_result(part)
    else:
        intake.pool.outcome = part
        intake.accept("a")
    task = intake.queue.manager.get("a")
    assert (task.audio_seconds, task.is_truncated, task.declared_seconds) == (6.5, True, 13.16)


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_tasks_own_track_is_decoded_and_all_tracks_are_kept(intake: Intake, is_slow: bool) -> None:
    tracks = (SoundTrack(1, 0, "aac", 2, "eng"), SoundTrack(2, 1, "ac3", 6, is_default=True, is_chosen=True))
    of_the_file = DecodedAudio(6.5, 104_000, is_truncated=False, tracks=tracks)
    intake.track = "2"
    if is_slow:
        intake.accept_slow("a").set_result(of_the_file)
    else:
        intake.pool.outcome = of_the_file
        intake.accept("a")
    intake.queue.store.database._engine.dispose()
    assert intake.queue.manager.get("a").tracks == tracks

    intake.queue.manager.cancel("a")
    assert intake.queue.manager.retry("a").tracks == ()
    intake.preparer.prepare("a", "")
    assert [request.track for request in intake.pool.requests] == ["2", "2"]


@pytest.mark.parametrize(("data", "error"), [(b"", EmptyFileError), (b"no sound", NoAudioStreamError)])
def test_a_bad_file_is_refused_and_nothing_of_it_is_kept(
    intake: Intake, data: bytes, error: type[TranscriptionServerError]
) -> None:
    intake.pool.outcome = DAMAGED
    with pytest.raises(error):
        intake.accept("a", data=data)
    assert intake.file_names() == []
    assert intake.queue.store.ids() == set()


def test_what_is_wrong_with_a_file_that_was_accepted_fails_its_task(intake: Intake) -> None:
    intake.accept_slow("a").set_exception(DAMAGED)

    failed = intake.queue.manager.get("a")
    assert (failed.status, failed.errors[-1].code) == (TaskStatus.FAILED, NoAudioStreamError.code)


def test_while_many_are_being_decoded_nobody_waits_for_a_verdict(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.intake.task_intake.MOST_WAITED_FOR", 1)
    intake.accept_slow("a")
    intake.pool.outcome = DAMAGED

    assert intake.accept("b") == ("b", False)
    assert intake.queue.manager.get("b").errors[-1].code == NoAudioStreamError.code

    intake.pool.futures[0].set_result(DECODED)
    with pytest.raises(NoAudioStreamError):
        intake.accept("c")


def test_an_unexpected_error_fails_the_task_without_details(intake: Intake) -> None:
    intake.accept_slow("a").set_exception(ZeroDivisionError("in /some/folder"))

    failed = intake.queue.manager.get("a")
    assert failed.status is TaskStatus.FAILED
    assert failed.errors[-1].message == TranscriptionServerError.default_message


def test_missing_ffmpeg_leaves_the_task_waiting_until_it_is_prepared_again(intake: Intake) -> None:
    intake.accept_slow("a").set_exception(FfmpegMissingError())
    assert intake.queue.manager.unprepared() == ["a"]

    intake.pool.outcome = DECODED
    intake.preparer.prepare_waiting()

    assert intake.queue.manager.unprepared() == []


def test_a_database_that_cannot_be_opened_for_a_moment_fails_no_task(intake: Intake, tmp_path: Path) -> None:
    future = intake.accept_slow("a")
    engine = intake.queue.store.database._engine
    engine.dispose()  # so that the next transaction opens the database

    @event.listens_for(engine, "do_connect", once=True)
    def cannot_be_opened(*_: object) -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "no folder" / "tasks.db")

    future.set_result(DECODED)

    assert intake.queue.manager.get("a").status is TaskStatus.PENDING
    assert intake.queue.manager.unprepared() == ["a"]

    intake.pool.outcome = DECODED
    intake.preparer.prepare_waiting()

    assert intake.queue.manager.unprepared() == []


def test_a_task_is_not_decoded_twice_at_once(intake: Intake) -> None:
    intake.accept_slow("a")
    intake.preparer.prepare_waiting()
    assert len(intake.pool.futures) == 1


def test_of_an_upload_that_the_full_queue_refuses_the_samples_go_when_the_decode_has_ended(intake: Intake) -> None:
    intake.accept("a")
    intake.accept("b")
    with pytest.raises(QueueFullError):
        intake.accept_slow("c")
    assert intake.file_names() == ["media/a", "media/b"]
    intake.files.audio_path("c").write_bytes(b"\0\0")

    intake.pool.futures[-1].set_result(DECODED)

    assert intake.file_names() == ["media/a", "media/b"]


def test_the_samples_of_a_task_that_was_deleted_meanwhile_are_removed(intake: Intake) -> None:
    future = intake.accept_slow("a")
    intake.queue.manager.delete("a")
    intake.files.delete("a")
    intake.files.audio_path("a").write_bytes(b"\0\0")

    future.set_result(DECODED)

    assert intake.file_names() == []


def test_the_samples_of_a_task_that_was_cancelled_meanwhile_are_removed(intake: Intake) -> None:
    future = intake.accept_slow("a")
    intake.queue.manager.cancel("a")
    intake.files.audio_path("a").write_bytes(b"\0\0")

    future.set_result(DECODED)

    assert intake.file_names() == ["media/a"]


def test_the_same_key_gives_the_first_task_and_keeps_nothing_of_the_second_upload(intake: Intake) -> None:
    assert intake.accept("a", key="k") == ("a", False)
    assert intake.accept("b", key="k") == ("a", True)
    assert intake.file_names() == ["media/a"]


def test_a_key_whose_first_request_is_still_under_way_is_refused(intake: Intake) -> None:
    refused: list[type[Exception]] = []

    def accept_again() -> None:
        intake.pool.on_start = lambda: None
        with pytest.raises(IdempotencyInFlightError):
            intake.accept("b", key="k")
        refused.append(IdempotencyInFlightError)

    intake.pool.on_start = accept_again
    intake.accept("a", key="k")

    assert refused == [IdempotencyInFlightError]
    assert intake.file_names() == ["media/a"]
    assert intake.accept("c", key="k") == ("a", True)
