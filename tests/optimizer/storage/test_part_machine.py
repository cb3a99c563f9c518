"""Whatever is done to resumable uploads, in whatever order: no byte is lost, doubled or promised in vain."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from errors import (
    ChecksumMismatchError,
    FileTooLargeError,
    OffsetMismatchError,
    QueueFullError,
    TranscriptionServerError,
    UnsupportedMediaError,
    UploadBusyError,
    UploadNotFoundError,
)
from optimizer.storage import part_file
from optimizer.storage.part_file import GIVES_WAY_AFTER_S, Checksum, PartWriter
from optimizer.storage.part_store import PartStore
from optimizer.storage.task_files import PART_LIFETIME, TaskFiles
from tests.optimizer.fakes import FakeClock
from tests.properties import budget

SIZES = st.integers(1, 300)
SHARES = st.floats(0, 1)
SYNC_BYTES = 64


@dataclass
class Sent:
    """What a client has of one upload, and what it was promised."""

    data: bytes
    arrived: int = 0
    synced: int = 0
    fate: str = "open"  # open, task, refused, gone

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class Uploads(RuleBasedStateMachine):
    """U1 to U6 of the upload machine. Errors are what the web answers: 409, 413, 423, 460."""

    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.boots = 1
        self.sent: dict[str, Sent] = {}
        self.tasks: set[str] = set()
        self.open_writers = ExitStack()  # of killed servers
        self.files = TaskFiles(self.folder)
        self.files.make_folders()
        self.store = self.started()

    def started(self) -> PartStore:
        now = self.clock.now().timestamp()
        for path in (self.folder / "incoming").iterdir():
            os.utime(path, (now, now))  # the kernel has dated them by a clock of its own
        store = PartStore(self.files, self.clock, machine_boot=f"boot {self.boots}")
        store.recover(self.tasks)
        return store

    def teardown(self) -> None:
        with suppress(OSError, TranscriptionServerError):
            self.open_writers.close()
        shutil.rmtree(self.folder)

    @rule(target=uploads, size=SIZES, seed=st.integers(0, 9))
    def create(self, size: int, seed: int) -> str:
        part_id = f"u{len(self.sent)}"
        self.store.create(part_id, size, "alice", {"filename": part_id})
        self.sent[part_id] = Sent(random.Random(seed).randbytes(size))
        return part_id

    @rule(part_id=uploads, share=SHARES, cut=st.booleans(), checksum=st.sampled_from([None, "right", "wrong"]))
    def append(self, part_id: str, share: float, cut: bool, checksum: str | None) -> None:
        sent = self.sent[part_id]
        piece = sent.data[sent.arrived :][: round(share * len(sent.data))]
        digest = None if checksum is None else _checksum(piece if checksum == "right" else piece + b"?")
        expected = _error_of(sent)
        if expected is not None:
            with pytest.raises(expected), self.store.appending(part_id, sent.arrived, digest):
                pass
            return
        is_whole = False
        try:
            with self.store.appending(part_id, sent.arrived, digest) as writer:
                writer.write(piece[: len(piece) // 2])
                if cut:
                    raise ConnectionResetError
                writer.write(piece[len(piece) // 2 :])
            is_whole = True
        except ConnectionResetError:
            piece = piece[: len(piece) // 2] if digest is None else b""
        except ChecksumMismatchError:
            assert checksum == "wrong"
            piece = b""
        assert is_whole == (not cut and checksum != "wrong")
        sent.arrived += len(piece)
        if sent.arrived < len(sent.data):
            sent.synced = sent.arrived  # at the end of every request

    @rule(part_id=uploads, offset=SIZES)
    def append_elsewhere(self, part_id: str, offset: int) -> None:
        """U2: 409, and not a byte changes."""
        sent = self.sent[part_id]
        if sent.fate == "open" and offset != sent.arrived:
            with pytest.raises(OffsetMismatchError), self.store.appending(part_id, offset) as writer:
                writer.write(b"x")

    @rule(part_id=uploads)
    def append_too_much(self, part_id: str) -> None:
        """U6: 413, and the file is gone."""
        sent = self.sent[part_id]
        if sent.fate == "open":
            with pytest.raises(FileTooLargeError), self.store.appending(part_id, sent.arrived) as writer:
                writer.write(sent.data[sent.arrived :] + b"!")
            sent.fate = "gone"

    @rule(part_id=uploads, is_stale=st.booleans())
    def append_twice_at_once(self, part_id: str, is_stale: bool) -> None:
        """U4: of two requests one is refused with 423, unless the first one's client is gone."""
        sent = self.sent[part_id]
        if sent.fate != "open" or sent.arrived == len(sent.data):
            return
        with ExitStack() as first:
            old = first.enter_context(self.store.appending(part_id, sent.arrived))
            if not is_stale:
                with pytest.raises(UploadBusyError), self.store.appending(part_id, sent.arrived):
                    pass
                sent.synced = sent.arrived
                return
            self.clock.advance(GIVES_WAY_AFTER_S)
            with self.store.appending(part_id, sent.arrived) as new:
                new.write(sent.data[sent.arrived : sent.arrived + 1])
            with pytest.raises(UploadBusyError):
                old.write(b"late")
        sent.arrived += 1
        if sent.arrived < len(sent.data):
            sent.synced = sent.arrived

    @rule(part_id=uploads, outcome=st.sampled_from(["task", "refused", "full"]))
    def complete(self, part_id: str, outcome: str) -> None:
        """U3 and U5: what becomes a task has the client's bytes, and it becomes one once."""
        sent = self.sent[part_id]
        if sent.fate != "open" or sent.arrived < len(sent.data):
            expected = _error_of(sent) or OffsetMismatchError
            with pytest.raises(expected), self.store.completing(part_id):
                pass
            return
        errors = {"refused": UnsupportedMediaError, "full": QueueFullError}
        try:
            with self.store.completing(part_id) as whole:
                assert whole.sha256 == sent.sha256
                whole.commit()
                if outcome != "task":
                    raise errors[outcome]
                whole.became(part_id)
        except (UnsupportedMediaError, QueueFullError):
            assert outcome != "task"
        if outcome == "task":
            self.tasks.add(part_id)
            assert self.files.find_media(part_id).read_bytes() == sent.data
        sent.fate = {"task": "task", "refused": "refused", "full": "open"}[outcome]

    @rule(part_id=uploads)
    def abort(self, part_id: str) -> None:
        sent = self.sent[part_id]
        if sent.fate in ("open", "refused"):
            self.store.remove(part_id)
            sent.fate = "gone"
        else:
            with pytest.raises(UploadNotFoundError):
                self.store.remove(part_id)

    @rule()
    def expire(self) -> None:
        self.clock.advance(PART_LIFETIME.total_seconds() + 1)
        self.store.sweep()
        for sent in self.sent.values():
            if sent.fate in ("open", "refused"):
                sent.fate = "gone"

    @rule(share=SHARES, is_power_cut=st.booleans(), is_committed=st.booleans())
    def crash(self, share: float, is_power_cut: bool, is_committed: bool) -> None:
        """U1: in the middle of a request, or between a file's last rename and its task's commit."""
        for part_id, sent in self.sent.items():
            if sent.fate != "open":
                continue
            if sent.arrived < len(sent.data):
                self._begin_request(part_id, sent, share)
            elif is_committed:
                self.open_writers.enter_context(self.store.completing(part_id)).commit()
        if is_power_cut:
            self.boots += 1
            for part_id, sent in self.sent.items():
                if sent.fate == "open":
                    self._lose_what_was_not_synced(part_id, sent)
        self.store = self.started()

    @invariant()
    def every_upload_is_as_its_client_knows_it(self) -> None:
        for part_id, sent in self.sent.items():
            if sent.fate in ("task", "gone"):
                with pytest.raises(UploadNotFoundError):
                    self.store.status(part_id)
                continue
            status = self.store.status(part_id)
            if sent.fate == "refused":
                assert status.is_whole
                continue
            assert status.offset == sent.arrived
            assert self.files.part_path(part_id).read_bytes() == sent.data[: sent.arrived]

    @invariant()
    def no_other_file_is_there(self) -> None:
        fates = {part_id: sent.fate for part_id, sent in self.sent.items()}
        expected = {f"{part_id}.json" for part_id, fate in fates.items() if fate in ("open", "refused")}
        expected |= {f"{part_id}.part" for part_id, fate in fates.items() if fate == "open"}
        assert {path.name for path in (self.folder / "incoming").iterdir()} == expected
        assert {path.name for path in (self.folder / "media").iterdir()} == self.tasks

    def _begin_request(self, part_id: str, sent: Sent, share: float) -> None:
        """One that never ends: the server is killed meanwhile."""
        writer: PartWriter = self.open_writers.enter_context(self.store.appending(part_id, sent.arrived))
        more = sent.data[sent.arrived :][: round(share * len(sent.data))]
        writer.write(more)
        sent.arrived += len(more)
        if sent.arrived - sent.synced >= SYNC_BYTES:
            sent.synced = sent.arrived

    def _lose_what_was_not_synced(self, part_id: str, sent: Sent) -> None:
        path = self.files.part_path(part_id)
        if not path.exists():  # its last rename was synced, and so were its bytes
            return
        path.write_bytes(sent.data[: sent.synced] + bytes(max(0, sent.arrived - sent.synced)))
        sent.arrived = sent.synced


def _error_of(sent: Sent) -> type[Exception] | None:
    ended = {"task": UploadNotFoundError, "gone": UploadNotFoundError, "refused": UnsupportedMediaError}
    return ended.get(sent.fate)


def _checksum(data: bytes) -> Checksum:
    return Checksum("sha256", hashlib.sha256(data).digest())


@pytest.mark.hypothesis  # the search is inside it
def test_no_byte_of_an_upload_is_lost_doubled_or_promised_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_file, "SYNC_BYTES", SYNC_BYTES)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of them; what a power cut takes is played by hand
    run_state_machine_as_test(Uploads, settings=budget(40, stateful_step_count=30))
