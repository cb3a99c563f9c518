"""Which samples are made, kept and removed, in the order of the queue, within the budget and above the disk's floor."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from errors import DiskFullError, FfmpegMissingError, MediaRemovedError, NoAudioStreamError
from optimizer.intake.decode_line import DecodeRequest
from optimizer.intake.preparer import Preparer
from optimizer.intake.sample_budget import SPACE_CHECK_BYTES, SampleBudget
from optimizer.intake.waveforms import Waveforms
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import Priority, TaskStatus
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue, new_task, running_queue
from whisper_core.audio.decode import DecodedAudio

MINUTE = 60 * 32_000  # bytes
BUDGET = 10 * MINUTE


class Disk(TaskFiles):
    """room: what may be written above the floor."""

    room = 10**12

    def room_bytes(self) -> int:
        return self.room


class HeldPool:
    """Decodes that end when the test says so, of recordings of so many minutes."""

    def __init__(self, files: Disk) -> None:
        self._files = files
        self.waiting: dict[str, tuple[DecodeRequest, Future[DecodedAudio]]] = {}

    def start_decode(self, request: DecodeRequest) -> Future[DecodedAudio]:
        assert request.task_id not in self.waiting
        self.waiting[request.task_id] = (request, Future())
        return self.waiting[request.task_id][1]

    def finish(self, task_id: str, minutes: float = 1.0) -> None:
        """As AudioDecoder does: asks before each write whether the samples may be kept."""
        request, future = self.waiting.pop(task_id)
        size = int(minutes * MINUTE)
        try:
            is_kept = all(request.may_keep(min(size, written)) for written in range(65536, size + 65536, 65536))
        except DiskFullError as error:
            future.set_exception(error)
            return
        if is_kept:
            self._files.audio_path(task_id).write_bytes(b"samples")
        future.set_result(DecodedAudio(minutes * 60, size // 2, is_truncated=False, is_kept=is_kept))

    def fail(self, task_id: str, error: Exception) -> None:
        self.waiting.pop(task_id)[1].set_exception(error)


class Rig:
    def __init__(self, queue: Queue, files: Disk) -> None:
        self.queue, self.files, self.pool = queue, files, HeldPool(files)
        self.budget = SampleBudget(files, queue.manager.samples.kept_bytes, BUDGET)
        self.preparer = Preparer(queue.manager, files, self.pool, self.budget, queue.clock)  # type: ignore[arg-type]

    def add(self, task_id: str, minutes: float = 1.0, *, has_samples: bool = False, **changes: object) -> None:
        """A measured task."""
        new = new_task(task_id, audio_seconds=minutes * 60, **changes)
        if has_samples:
            self.files.audio_path(task_id).write_bytes(b"samples")
        self.queue.manager.submit(new, has_samples=has_samples)

    def being_made(self) -> list[str]:
        return list(self.pool.waiting)

    def on_disk(self) -> set[str]:
        return self.files.ids_with_audio()

    def ready(self) -> list[str]:
        return [task.id for task in self.queue.manager.waiting().in_order()]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    files = Disk(tmp_path)
    files.acquire_lock()
    with running_queue(tmp_path, FakeClock()) as queue:
        yield Rig(queue, files)
    files.release_lock()


# --- the first decode


def test_a_short_recording_is_measured_and_kept(rig: Rig) -> None:
    rig.queue.submit("a", audio_seconds=None)
    rig.preparer.prepare_waiting()
    rig.pool.finish("a")
    assert (rig.ready(), rig.on_disk()) == (["a"], {"a"})


def test_what_is_beyond_an_owners_share_is_measured_and_not_kept(rig: Rig) -> None:
    rig.add("first", 4.0, has_samples=True, owner="x")
    rig.queue.submit("second", audio_seconds=None, owner="x")
    rig.queue.submit("other", audio_seconds=None, owner="y")
    rig.preparer.prepare_waiting()
    rig.pool.finish("second", minutes=2.0)
    rig.pool.finish("other", minutes=2.0)
    assert rig.ready() == ["first", "other"]
    assert rig.queue.manager.get("second").audio_seconds == 120.0
    assert rig.on_disk() == {"first", "other"}


def test_what_is_beyond_the_budget_is_not_kept_also_while_several_are_decoded(rig: Rig) -> None:
    for number in range(4):
        rig.queue.submit(f"t{number}", audio_seconds=None, owner=str(number))
    rig.preparer.prepare_waiting()
    requests = [request for request, _ in rig.pool.waiting.values()]
    assert [request.may_keep(4 * MINUTE) for request in requests] == [True, True, False, False]


def test_a_bomb_is_measured_and_takes_no_more_than_its_share_of_the_disk(rig: Rig) -> None:
    rig.queue.submit("bomb", audio_seconds=None)
    rig.preparer.prepare_waiting()
    request, _ = rig.pool.waiting["bomb"]
    kept = [nbytes for nbytes in range(65536, 720 * MINUTE, 65536) if request.may_keep(nbytes)]
    assert max(kept) <= BUDGET / 2
    rig.pool.finish("bomb", minutes=720.0)
    assert (rig.on_disk(), rig.ready()) == (set(), [])


def test_a_disk_at_its_floor_keeps_nothing_and_fails_nothing(rig: Rig) -> None:
    rig.files.room = SPACE_CHECK_BYTES - 1
    rig.queue.submit("a", audio_seconds=None)
    rig.preparer.prepare_waiting()
    rig.pool.finish("a")
    assert rig.queue.manager.get("a").audio_seconds == 60.0
    assert rig.on_disk() == set()


def test_a_bad_file_fails_its_task(rig: Rig) -> None:
    rig.queue.submit("a", audio_seconds=None)
    rig.preparer.prepare_waiting()
    rig.pool.fail("a", NoAudioStreamError())
    assert rig.queue.manager.get("a").status is TaskStatus.FAILED


# --- samples for the next tasks


def test_the_next_tasks_get_their_samples_in_the_order_of_the_queue_within_the_budget(rig: Rig) -> None:
    rig.add("low", 1.0, priority=Priority.LOW)
    for number in range(6):
        rig.add(f"t{number}", 1.0)
    rig.preparer.refill()
    assert rig.being_made() == [f"t{number}" for number in range(5)]  # half of the budget: one owner's share
    for name in rig.being_made():
        rig.pool.finish(name)
    rig.preparer.refill()
    assert rig.being_made() == []

    rig.queue.claim("t0")
    rig.preparer.refill()
    assert rig.being_made() == ["t5"]


def test_a_recording_larger_than_the_budget_gets_its_samples_when_it_is_next(rig: Rig) -> None:
    rig.add("huge", 100.0)
    rig.preparer.refill()
    rig.pool.finish("huge", minutes=100.0)
    assert rig.ready() == ["huge"]


def test_the_next_task_displaces_the_samples_of_the_last_ones(rig: Rig) -> None:
    for number in range(5):
        rig.add(f"t{number}", 1.0, has_samples=True)
        rig.add(f"u{number}", 1.0, has_samples=True, owner="y")
    rig.add("urgent", 2.0, priority=Priority.HIGH, owner="z")
    rig.preparer.refill()
    assert rig.being_made() == ["urgent"]
    assert rig.on_disk() == {f"{owner}{number}" for owner in "tu" for number in range(4)}
    assert set(rig.ready()) == rig.on_disk()


def test_a_running_task_keeps_its_samples_whatever_the_next_one_needs(rig: Rig) -> None:
    rig.add("running", 9.0, has_samples=True)
    rig.queue.claim("running")
    rig.add("next", 9.0)
    rig.preparer.refill()
    assert (rig.being_made(), rig.on_disk()) == (["next"], {"running"})


def test_without_room_on_the_disk_the_next_task_waits_and_the_server_says_so(rig: Rig) -> None:
    rig.add("next", 2.0)
    rig.files.room = 2 * MINUTE
    rig.preparer.refill()
    assert (rig.being_made(), rig.preparer.problem()) == ([], "the disk is nearly full")
    assert rig.queue.manager.get("next").status is TaskStatus.PENDING

    rig.files.room = 2 * MINUTE + SPACE_CHECK_BYTES
    rig.preparer.refill()
    assert (rig.being_made(), rig.preparer.problem()) == (["next"], None)


def test_a_disk_that_fills_up_meanwhile_ends_the_decode_and_the_task_waits(rig: Rig) -> None:
    rig.add("next", 3.0)
    rig.preparer.refill()
    rig.files.room = 0
    rig.pool.finish("next", minutes=3.0)
    assert (rig.on_disk(), rig.preparer.problem()) == (set(), "the disk is nearly full")
    assert (rig.queue.manager.get("next").status, rig.ready()) == (TaskStatus.PENDING, [])

    rig.files.room = 10**12
    rig.preparer.prepare_waiting()
    rig.pool.finish("next", minutes=3.0)
    assert (rig.ready(), rig.preparer.problem()) == (["next"], None)


def test_no_decode_begins_anew_by_itself_while_ffmpeg_is_missing(rig: Rig) -> None:
    rig.add("next")
    rig.preparer.refill()
    rig.pool.fail("next", FfmpegMissingError())
    assert rig.being_made() == []
    assert rig.queue.manager.get("next").status is TaskStatus.PENDING
    rig.preparer.prepare_waiting()
    assert rig.being_made() == ["next"]


def test_samples_that_vanish_are_made_again(rig: Rig) -> None:
    rig.add("a", has_samples=True)
    rig.preparer.make_again("a")
    rig.preparer.refill()
    rig.pool.finish("a")
    assert rig.ready() == ["a"]


def test_the_samples_of_a_task_that_was_cancelled_meanwhile_go(rig: Rig) -> None:
    rig.add("a")
    rig.preparer.refill()
    rig.queue.manager.cancel("a")
    rig.pool.finish("a")
    assert rig.on_disk() == set()
    assert not rig.queue.manager.samples.any_missing()


def test_a_recording_that_was_removed_while_it_was_read_leaves_no_waveform(rig: Rig) -> None:
    for task_id in ("kept", "removed"):
        rig.add(task_id)
        rig.queue.complete(rig.queue.claim(task_id))
        rig.files.media_path(task_id).write_bytes(b"sound")
        rig.preparer.measure_again(rig.queue.manager.get(task_id))
    rig.files.delete_media("removed")  # by KEEP_MEDIA_DAYS, or by a delete whose row is still there
    for task_id in ("kept", "removed"):
        rig.files.waveform_path(task_id).write_bytes(b"peaks")
        rig.pool.finish(task_id)
    assert [path.name for path in (rig.files.root / "waveforms").iterdir()] == ["kept"]
    assert not rig.preparer.is_preparing("removed")


def test_of_a_recording_that_was_removed_for_its_age_there_is_no_waveform(rig: Rig) -> None:
    rig.add("a")
    rig.queue.complete(rig.queue.claim("a"))
    rig.queue.clock.advance(86_400)
    rig.queue.manager.remove_media("a", rig.queue.clock.now(), lambda: rig.files.delete_media("a"))
    with pytest.raises(MediaRemovedError):
        Waveforms(rig.queue.manager, rig.files, rig.preparer).of("a")
    assert rig.being_made() == []


def test_its_thread_refills_when_a_task_changes_and_ends_when_told(rig: Rig) -> None:
    from optimizer.tasks.events import TaskChanged

    rig.pool.problem = lambda: None  # type: ignore[attr-defined]
    rig.add("a")
    rig.preparer.start()
    rig.preparer.on_event(TaskChanged("a"))
    rig.preparer.stop()  # what was noted before is done or not; nothing is left running either way
    rig.preparer.refill()
    assert rig.being_made() == ["a"]
