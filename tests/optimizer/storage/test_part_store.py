"""Uploads that arrive in several requests: what is there after each of the ways in which one can end."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from errors import (
    ChecksumMismatchError,
    DiskFullError,
    FileTooLargeError,
    OffsetMismatchError,
    QueueFullError,
    ShuttingDownError,
    UnsupportedMediaError,
    UploadBusyError,
    UploadNotFoundError,
)
from optimizer.common import failpoints
from optimizer.storage import part_file, part_store
from optimizer.storage.part_file import GIVES_WAY_AFTER_S, Checksum
from optimizer.storage.part_store import PartStore
from optimizer.storage.task_files import TaskFiles
from tests.optimizer.fakes import FakeClock
from tests.optimizer.faults import NthHit
from tests.optimizer.storage.helpers import ID, names

SOUND = b"the sound of a recording"
DAY_S = 86_400
NOTE, PART, MEDIA = f"incoming/{ID}.json", f"incoming/{ID}.part", f"media/{ID}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def parts(files: TaskFiles, clock: FakeClock) -> PartStore:
    parts = PartStore(files, clock)
    parts.create(ID, len(SOUND), "alice", {"filename": "a.wav"})
    return parts


def append(parts: PartStore, offset: int, data: bytes, checksum: Checksum | None = None) -> None:
    with parts.appending(ID, offset, checksum) as writer:
        writer.write(data)


def offset_of(parts: PartStore) -> int:
    return parts.status(ID).offset


def restarted(files: TaskFiles, clock: FakeClock, machine_boot: str | None = None) -> PartStore:
    parts = PartStore(files, clock, machine_boot=machine_boot)
    parts.recover(set())
    return parts


def sha1(data: bytes) -> Checksum:
    return Checksum("sha1", hashlib.sha1(data, usedforsecurity=False).digest())


def test_an_upload_grows_to_its_length_and_becomes_a_media_file(parts: PartStore, files: TaskFiles) -> None:
    append(parts, 0, SOUND[:10])
    assert (offset_of(parts), parts.status(ID).is_whole) == (10, False)
    append(parts, 10, SOUND[10:])
    with parts.completing(ID) as whole:
        assert (whole.size, whole.sha256) == (len(SOUND), hashlib.sha256(SOUND).hexdigest())
        assert whole.details == {"filename": "a.wav"}
        whole.commit()
        whole.became(ID)
    assert names(files.root) == [MEDIA]
    assert files.find_media(ID).read_bytes() == SOUND
    with pytest.raises(UploadNotFoundError):
        parts.status(ID)


def test_a_wrong_offset_changes_no_byte(parts: PartStore, files: TaskFiles) -> None:
    append(parts, 0, SOUND[:10])
    for wrong in (0, 9, 11, 1000):
        with pytest.raises(OffsetMismatchError):
            append(parts, wrong, b"x")
    assert (files.root / PART).read_bytes() == SOUND[:10]


def test_what_arrived_before_the_connection_broke_stays(parts: PartStore) -> None:
    with pytest.raises(ConnectionResetError), parts.appending(ID, 0) as writer:  # noqa: PT012
        writer.write(SOUND[:7])
        raise ConnectionResetError
    assert offset_of(parts) == 7
    append(parts, 7, SOUND[7:])
    assert parts.status(ID).is_whole


def test_of_two_requests_at_once_the_second_is_refused(parts: PartStore, clock: FakeClock) -> None:
    with parts.appending(ID, 0) as writer:
        writer.write(SOUND[:4])
        with pytest.raises(UploadBusyError):
            append(parts, 4, SOUND[4:])
        assert offset_of(parts) == 4
        clock.advance(GIVES_WAY_AFTER_S - 1)
        writer.write(SOUND[4:8])
        clock.advance(GIVES_WAY_AFTER_S - 1)
        with pytest.raises(UploadBusyError):
            append(parts, 8, SOUND[8:])


def test_a_request_whose_client_is_gone_makes_way_and_writes_no_more(parts: PartStore, clock: FakeClock) -> None:
    """As after a closed lid: the server still waits for bytes of a connection that nobody has any more."""
    with pytest.raises(UploadBusyError), parts.appending(ID, 0) as old:  # noqa: PT012
        old.write(SOUND[:4])
        clock.advance(GIVES_WAY_AFTER_S)
        append(parts, 4, SOUND[4:10])
        old.write(b"late bytes of the old connection")
    assert offset_of(parts) == 10
    append(parts, 10, SOUND[10:])
    with parts.completing(ID) as whole:
        assert whole.sha256 == hashlib.sha256(SOUND).hexdigest()


def test_bytes_with_the_wrong_checksum_are_dropped_and_the_right_ones_can_follow(parts: PartStore) -> None:
    append(parts, 0, SOUND[:5])
    with pytest.raises(ChecksumMismatchError):
        append(parts, 5, b"broken", sha1(SOUND[5:11]))
    assert offset_of(parts) == 5
    append(parts, 5, SOUND[5:], sha1(SOUND[5:]))
    with parts.completing(ID) as whole:
        assert whole.sha256 == hashlib.sha256(SOUND).hexdigest()


def test_bytes_count_only_when_their_checksum_was_seen(parts: PartStore, files: TaskFiles, clock: FakeClock) -> None:
    with pytest.raises(ConnectionResetError), parts.appending(ID, 0, sha1(SOUND)) as writer:  # noqa: PT012
        writer.write(SOUND[:9])
        assert offset_of(parts) == 0
        assert offset_of(restarted(files, clock)) == 0  # the server was killed at this moment
        raise ConnectionResetError
    assert offset_of(parts) == 0


def test_a_whole_upload_whose_checksum_was_right_survives_a_kill(
    parts: PartStore, files: TaskFiles, clock: FakeClock
) -> None:
    """It is not a task yet, for instance because the queue was full, and its client has been told that all is here."""
    append(parts, 0, SOUND, sha1(SOUND))
    assert offset_of(parts) == offset_of(restarted(files, clock)) == len(SOUND)


def test_a_killed_server_goes_on_with_every_byte_it_had_written(
    parts: PartStore, files: TaskFiles, clock: FakeClock
) -> None:
    with parts.appending(ID, 0) as writer:
        writer.write(SOUND[:6])
        after = restarted(files, clock)  # `writer` never got to its end
        assert offset_of(after) == 6
    append(after, 6, SOUND[6:])
    with after.completing(ID) as whole:
        assert (whole.sha256, whole.owner) == (hashlib.sha256(SOUND).hexdigest(), "alice")


def test_after_a_power_cut_only_what_was_synced_counts(parts: PartStore, files: TaskFiles, clock: FakeClock) -> None:
    append(parts, 0, SOUND[:6])
    with parts.appending(ID, 6) as writer:
        writer.write(SOUND[6:12])
        (files.root / PART).write_bytes(SOUND[:6] + b"\0" * 6)  # the length survived, the bytes did not
        after = restarted(files, clock, machine_boot="another start of the machine")
        assert offset_of(after) == 6
        append(after, 6, SOUND[6:])
        with after.completing(ID) as whole:
            assert whole.sha256 == hashlib.sha256(SOUND).hexdigest()
            whole.became(ID)


def test_long_uploads_are_synced_on_the_way(
    parts: PartStore, files: TaskFiles, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_file, "SYNC_BYTES", 5)
    with parts.appending(ID, 0) as writer:
        for at in range(0, 12, 3):
            writer.write(SOUND[at : at + 3])
        assert offset_of(restarted(files, clock, machine_boot="another")) == 12


@pytest.mark.parametrize("is_known", [False, True])
def test_a_crash_around_the_task_s_commit_loses_no_upload(
    parts: PartStore, files: TaskFiles, clock: FakeClock, is_known: bool
) -> None:
    append(parts, 0, SOUND)
    with parts.completing(ID) as whole:
        whole.commit()
        after = PartStore(files, clock)
        after.recover({ID} if is_known else set())
        if is_known:
            assert names(files.root) == [MEDIA]
        else:
            assert names(files.root) == [NOTE, PART]
            assert after.status(ID).is_whole
        whole.became(ID)


def test_a_refusal_that_sending_again_cannot_mend_is_told_again_without_the_bytes(
    parts: PartStore, files: TaskFiles, clock: FakeClock
) -> None:
    append(parts, 0, SOUND)
    with pytest.raises(UnsupportedMediaError), parts.completing(ID):
        raise UnsupportedMediaError("This is no recording.")
    for store in (parts, restarted(files, clock)):
        assert names(files.root) == [NOTE]
        assert store.status(ID).is_whole
        with pytest.raises(UnsupportedMediaError, match=r"This is no recording\."), store.completing(ID):
            pass
        with pytest.raises(UnsupportedMediaError):
            append(store, len(SOUND), b"")
    assert "a.wav" not in (files.root / NOTE).read_text()


@pytest.mark.parametrize("error", [QueueFullError(), DiskFullError(), KeyboardInterrupt(), RuntimeError()])
def test_any_other_failure_leaves_the_whole_upload_to_be_tried_again(
    parts: PartStore, files: TaskFiles, error: BaseException
) -> None:
    append(parts, 0, SOUND)
    with pytest.raises(type(error)), parts.completing(ID) as whole:  # noqa: PT012
        whole.commit()
        raise error
    assert names(files.root) == [NOTE, PART]
    with parts.completing(ID) as whole:
        whole.commit()
        whole.became(ID)
    assert names(files.root) == [MEDIA]


def test_an_upload_whose_key_has_made_another_task_remembers_that_task(
    parts: PartStore, files: TaskFiles, clock: FakeClock
) -> None:
    append(parts, 0, SOUND)
    with parts.completing(ID) as whole:
        whole.became("another")
    for store in (parts, restarted(files, clock)):
        assert (store.status(ID).task_id, names(files.root)) == ("another", [NOTE])


@pytest.mark.parametrize("error", [UnsupportedMediaError(""), QueueFullError(), ConnectionResetError()])
def test_an_upload_that_has_become_its_task_stays_that_whatever_comes_then(
    parts: PartStore, files: TaskFiles, error: BaseException
) -> None:
    append(parts, 0, SOUND)
    with pytest.raises(type(error)), parts.completing(ID) as whole:  # noqa: PT012
        whole.commit()
        whole.became(ID)
        raise error
    assert names(files.root) == [MEDIA]
    with pytest.raises(UploadNotFoundError):
        parts.status(ID)


def test_an_unfinished_upload_cannot_become_a_task(parts: PartStore) -> None:
    append(parts, 0, SOUND[:5])
    with pytest.raises(OffsetMismatchError), parts.completing(ID):
        pass
    append(parts, 5, SOUND[5:])


def test_more_bytes_than_announced_end_the_upload(parts: PartStore, files: TaskFiles) -> None:
    with pytest.raises(FileTooLargeError):
        append(parts, 0, SOUND + b"!")
    assert names(files.root) == []


def test_nothing_is_left_of_a_cancelled_upload_and_its_writer_is_told(parts: PartStore, files: TaskFiles) -> None:
    with pytest.raises(UploadNotFoundError), parts.appending(ID, 0) as writer:  # noqa: PT012
        writer.write(SOUND[:5])
        parts.remove(ID)
        assert names(files.root) == []
        writer.write(SOUND[5:])
    with pytest.raises(UploadNotFoundError):
        parts.status(ID)


def test_an_upload_that_is_made_a_task_cannot_be_cancelled(parts: PartStore) -> None:
    append(parts, 0, SOUND)
    with parts.completing(ID):
        with pytest.raises(UploadBusyError):
            parts.remove(ID)
        with pytest.raises(UploadBusyError), parts.completing(ID):
            pass


def test_an_upload_expires_a_day_after_its_last_byte(parts: PartStore, files: TaskFiles, clock: FakeClock) -> None:
    clock.advance(DAY_S - 10)
    append(parts, 0, SOUND[:5])
    clock.advance(20)
    parts.sweep()
    assert (parts.status(ID).expires_at - clock.now()).total_seconds() == DAY_S - 20
    clock.advance(DAY_S)
    parts.sweep()
    assert names(files.root) == []


def test_an_upload_that_is_being_written_does_not_expire(parts: PartStore, clock: FakeClock) -> None:
    with parts.appending(ID, 0) as writer:
        clock.advance(2 * DAY_S)
        parts.sweep()
        writer.write(SOUND)
    assert parts.status(ID).is_whole


def test_a_jump_of_the_wall_clock_expires_nothing(parts: PartStore, clock: FakeClock) -> None:
    clock.jump(10 * 365 * DAY_S)
    parts.sweep(now=True)
    assert offset_of(parts) == 0


def test_the_age_of_an_upload_outlasts_a_restart(parts: PartStore, files: TaskFiles, clock: FakeClock) -> None:
    old = clock.now().timestamp() - DAY_S - 1
    os.utime(files.root / PART, (old, old))
    restarted(files, clock)
    assert names(files.root) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_keeps_what_had_arrived(
    parts: PartStore, files: TaskFiles, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    append(parts, 0, SOUND[:5])
    write, calls = os.write, []

    def write_a_part(descriptor: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(code, os.strerror(code))
        return write(descriptor, data[:3])

    with monkeypatch.context() as full:
        full.setattr(os, "write", write_a_part)
        with pytest.raises(DiskFullError):
            append(parts, 5, SOUND[5:])
    assert (offset_of(parts), (files.root / PART).read_bytes()) == (5, SOUND[:5])
    append(parts, 5, SOUND[5:])
    with parts.completing(ID) as whole:
        assert whole.sha256 == hashlib.sha256(SOUND).hexdigest()


def test_a_disk_that_is_nearly_full_refuses_before_the_first_byte(
    parts: PartStore, files: TaskFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(files, "_min_free_bytes", 10**18)
        with pytest.raises(DiskFullError, match="is kept"):
            append(parts, 0, SOUND)
    assert offset_of(parts) == 0


def test_after_a_failed_sync_only_what_was_synced_before_counts(
    parts: PartStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    append(parts, 0, SOUND[:5])
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="broken"):
            append(parts, 5, SOUND[5:10])
    assert offset_of(parts) == 5
    append(parts, 5, SOUND[5:])
    with parts.completing(ID) as whole:
        assert whole.sha256 == hashlib.sha256(SOUND).hexdigest()


def test_nobody_can_begin_uploads_without_end(parts: PartStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_store, "MAX_PARTS_OF_OWNER", 2)
    parts.create("b", 1, "alice", {})
    with pytest.raises(QueueFullError):
        parts.create("c", 1, "alice", {})
    parts.create("c", 1, "bob", {})
    monkeypatch.setattr(part_store, "MAX_PARTS", 3)
    with pytest.raises(QueueFullError):
        parts.create("d", 1, "carol", {})


def test_only_so_many_refusals_are_remembered(
    parts: PartStore, files: TaskFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(parts, 0, SOUND)
    with pytest.raises(UnsupportedMediaError), parts.completing(ID):
        raise UnsupportedMediaError
    monkeypatch.setattr(part_store, "MAX_ENDED", 0)
    parts.sweep(now=True)
    assert names(files.root) == []


def test_a_key_finds_its_owner_s_unfinished_upload(parts: PartStore) -> None:
    parts.create("b", 1, "alice", {}, key="k")
    found = parts.find_by_key("alice", "k")
    assert found is not None
    assert found.note.id == "b"
    assert (parts.find_by_key("bob", "k"), parts.find_by_key("alice", "other")) == (None, None)


@pytest.mark.parametrize("note", ["", "{", "[]", '{"id": "x"}', json.dumps({"id": ID, "length": "long"})])
def test_a_damaged_note_does_not_keep_the_server_from_starting(
    parts: PartStore, files: TaskFiles, clock: FakeClock, note: str
) -> None:
    (files.root / NOTE).write_text(note)
    restarted(files, clock)
    assert names(files.root) == [PART]  # it may be somebody's only copy; after a day the sweep takes it


def test_links_are_not_followed(parts: PartStore, files: TaskFiles, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"")
    (files.root / PART).unlink()
    (files.root / PART).symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        append(parts, 0, SOUND)
    assert other.read_bytes() == b""


def test_everything_is_private(parts: PartStore, files: TaskFiles) -> None:
    append(parts, 0, SOUND[:5])
    assert {(files.root / name).stat().st_mode & 0o777 for name in (NOTE, PART)} == {0o600}


# A leader that makes way for the next one while its requests go on


def test_an_upload_that_the_next_leader_made_a_task_keeps_its_file(
    parts: PartStore, files: TaskFiles, clock: FakeClock
) -> None:
    """The one before it was making a task of it, too, and learns too late that it may not."""
    append(parts, 0, SOUND)
    with parts.completing(ID) as late:
        late.commit()
        parts.close()
        following = restarted(files, clock)
        with following.completing(ID) as whole:
            whole.commit()
            late.discard()  # as TaskIntake does when it cannot store the task
            whole.became(ID)
    assert names(files.root) == [MEDIA]
    assert files.find_media(ID).read_bytes() == SOUND


def test_an_upload_that_goes_on_at_the_next_leader_is_not_made_a_task_by_the_one_before(
    parts: PartStore, files: TaskFiles, clock: FakeClock
) -> None:
    append(parts, 0, SOUND)
    with parts.completing(ID) as late:
        parts.close()
        following = restarted(files, clock)
        with pytest.raises(ShuttingDownError):
            late.commit()
    assert offset_of(following) == len(SOUND)
    assert names(files.root) == [NOTE, PART]


def test_what_has_arrived_at_the_next_leader_is_neither_cut_nor_doubled_by_the_one_before(
    parts: PartStore, files: TaskFiles, clock: FakeClock
) -> None:
    """Which would take back what it cannot check any more."""
    append(parts, 0, SOUND[:4])
    writing = parts.appending(ID, 4, sha1(SOUND[4:]))
    late = writing.__enter__()
    late.write(SOUND[4:8])
    parts.close()
    following = restarted(files, clock)
    append(following, 4, SOUND[4:])
    with pytest.raises(ShuttingDownError) as refusal:
        late.write(SOUND[8:])
    assert not writing.__exit__(refusal.type, refusal.value, None)
    assert files.part_path(ID).read_bytes() == SOUND
    with following.completing(ID) as whole:
        assert whole.sha256 == hashlib.sha256(SOUND).hexdigest()
        whole.commit()
        whole.became(ID)


def test_a_leader_that_has_made_way_removes_nothing_and_makes_nothing(parts: PartStore, files: TaskFiles) -> None:
    append(parts, 0, SOUND)
    before = names(files.root)
    refusing = parts.completing(ID)
    refusing.__enter__()
    parts.close()
    assert not refusing.__exit__(UnsupportedMediaError, UnsupportedMediaError(), None)
    with pytest.raises(ShuttingDownError):
        parts.remove(ID)
    with pytest.raises(ShuttingDownError):
        parts.create("another", 1, "alice", {})
    assert names(files.root) == before


def test_who_makes_way_waits_for_what_is_being_written(parts: PartStore, files: TaskFiles) -> None:
    is_closed = threading.Event()

    def close() -> None:
        parts.close()
        is_closed.set()

    closing = threading.Thread(target=close)

    def look() -> None:
        closing.start()
        assert not is_closed.wait(0.1)

    with parts.appending(ID, 0) as writer:
        failpoints.arm({"part.write": NthHit(1, look)})
        writer.write(SOUND)
        failpoints.disarm()
        assert is_closed.wait(30)
    closing.join()
    assert files.part_path(ID).read_bytes() == SOUND
