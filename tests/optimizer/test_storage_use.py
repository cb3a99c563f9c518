"""Who uses how much of the disk."""

from __future__ import annotations

from pathlib import Path

from optimizer.storage.task_files import TaskFiles
from optimizer.views.storage import SCAN_LASTS_S, OwnerUse, StorageViews
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue


def test_the_disk_is_shared_out_among_owners(queue: Queue, clock: FakeClock, tmp_path: Path) -> None:
    files = TaskFiles(tmp_path)
    files.make_folders()
    for task_id, owner in (("a", "alice"), ("b", "bob"), ("c", "bob")):
        queue.submit(task_id, owner=owner)
        files.media_path(task_id).write_bytes(b"x" * 100)
    files.transcript_path("a").write_bytes(b"x" * 7)
    files.audio_path("b").write_bytes(b"x" * 30)
    files.waveform_path("b").write_bytes(b"x" * 3)
    files.media_path("of-nobody").write_bytes(b"x" * 999)
    files.part_path("d").write_bytes(b"x" * 11)

    views = StorageViews(queue.store, files, clock)
    everything = views.used(None)
    assert everything.owners == (OwnerUse("bob", 2, 200, 0, 33), OwnerUse("alice", 1, 100, 7, 0))
    assert (everything.media, everything.texts, everything.samples, everything.incoming) == (300, 7, 33, 11)
    assert everything.database is not None
    assert everything.database > 0
    assert everything.free > 0

    own = views.used("alice")
    assert (own.media, own.texts, own.incoming, own.database) == (100, 7, None, None)
    assert views.used("carol").media == 0

    queue.manager.delete("a")
    files.delete("a")
    assert views.used("alice").media == 100  # not looked at again so soon
    clock.advance(1)
    assert views.used("alice").owners == ()


class SlowClock(FakeClock):
    """A second passes between two looks at it."""

    def monotonic(self) -> float:
        self.advance(1)
        return super().monotonic()


def test_what_takes_long_to_look_at_is_looked_at_seldom(queue: Queue, tmp_path: Path) -> None:
    files, clock = TaskFiles(tmp_path), SlowClock()
    files.make_folders()
    queue.submit("a", owner="alice")
    views = StorageViews(queue.store, files, clock)
    assert views.used(None).media == 0
    files.media_path("a").write_bytes(b"x" * 100)
    clock.advance(SCAN_LASTS_S - 2)
    assert views.used(None).media == 0
    clock.advance(1)
    assert views.used(None).media == 100
