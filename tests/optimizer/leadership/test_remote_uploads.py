"""Files that a web process receives become one task each, whatever becomes of the leader meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from errors import (
    CommitUncertainError,
    FileMissingError,
    IdempotencyMismatchError,
    NoLeaderError,
    OffsetMismatchError,
    QueueFullError,
    ShuttingDownError,
    StoreBusyError,
    UploadNotFoundError,
)
from optimizer.common.clock import SystemClock
from optimizer.common.gate import Gate
from optimizer.leadership import channel_server
from optimizer.leadership.calls import SUBMIT_FILE
from optimizer.leadership.channel_client import AnswerLostError, ChannelClient, Session
from optimizer.leadership.messages import BEGUN, Call, SentFile, SentPart, send
from optimizer.leadership.received import ReceivedPart, submit_received
from optimizer.leadership.remote_uploads import RemoteParts, RemoteWhole, Submitter
from optimizer.leadership.route import Route
from optimizer.storage.part_file import Checksum
from optimizer.storage.part_store import PartStore
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import ReplayedUpload
from optimizer.views.task_view import Submission
from tests.optimizer.fakes import FakeClock
from tests.optimizer.leadership.leaders import (
    PlayedLeader,
    SmallSystem,
    channel,
    dies_before,
    dies_in_between,
    view_of,
    wait_until,
)

LIMIT_S = 30
SOUND = b"some sound"


@pytest.fixture
def files(tmp_path: Path) -> TaskFiles:
    files = TaskFiles(tmp_path)
    files.make_folders()
    return files


@pytest.fixture
def route(tmp_path: Path) -> Iterator[Route]:
    route = Route(ChannelClient(tmp_path), SystemClock(), wait_s=LIMIT_S)
    yield route
    route.stop()


@pytest.fixture
def submitter(route: Route, files: TaskFiles) -> Submitter:
    return Submitter(route, files)


def written(files: TaskFiles, task_id: str = "new") -> Any:
    upload = files.begin_upload(task_id)
    upload.write(SOUND)
    return upload


def left(files: TaskFiles) -> tuple[list[str], list[str]]:
    return (
        [path.name for path in (files.root / "incoming").iterdir()],
        [path.name for path in (files.root / "media").iterdir()],
    )


def test_a_file_becomes_a_task_where_it_lies(tmp_path: Path, files: TaskFiles, submitter: Submitter) -> None:
    with channel(tmp_path, system := SmallSystem()):
        submission = submitter.submit(written(files))
        submitter._route.stop()
    assert submission.task == view_of("new")
    assert system.submitted["new"].size == len(SOUND)
    assert left(files) == ([], ["new"])
    assert files.media_path("new").read_bytes() == SOUND


def test_a_file_that_is_offered_twice_is_made_a_task_once(tmp_path: Path, files: TaskFiles, route: Route) -> None:
    written(files).hand_over()
    sent = SentFile("new", len(SOUND), "0" * 64, is_stored=True)
    with channel(tmp_path, system := SmallSystem()), ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda _: route.call_once(SUBMIT_FILE, sent), range(2)))
        first = system.submitted["new"]
        made.append(route.call_once(SUBMIT_FILE, sent))
        assert system.submitted["new"] is first
        route.stop()
    assert [(submission.task, submission.is_replay) for submission in made] == [(view_of("new"), False)] * 3
    assert left(files) == ([], ["new"])


def test_nobody_submits_a_file_beside_another_one_however_many_ask(
    tmp_path: Path, files: TaskFiles, route: Route
) -> None:
    class Refusing(SmallSystem):
        """One after the other is refused when the test says so."""

        def __init__(self) -> None:
            super().__init__()
            self.running = 0
            self.counted: list[int] = []  # those that ran at the start of each
            self.may_end = threading.Semaphore(0)
            self.is_beside = threading.Event()

        def submit(self, upload: Any, **_: Any) -> Any:
            self.running += 1
            self.counted.append(self.running)
            if self.running > 1:
                self.is_beside.set()
            assert self.may_end.acquire(timeout=LIMIT_S)
            self.running -= 1
            raise QueueFullError()

    def ask() -> Any:
        with pytest.raises(QueueFullError):
            route.call_once(SUBMIT_FILE, SentFile("new", len(SOUND), "0" * 64, is_stored=True))

    with channel(tmp_path, system := Refusing()) as server, ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(ask)]
        wait_until(lambda: len(system.counted) == 1)
        asked.append(threads.submit(ask))
        wait_until(lambda: server._num_busy == 2)
        system.is_beside.wait(0.1)  # lets the second one come to where it waits
        system.may_end.release()
        wait_until(lambda: len(system.counted) == 2)
        asked.append(threads.submit(ask))
        system.is_beside.wait(0.5)  # in vain
        system.may_end.release(2)
        for answer in asked:
            answer.result(LIMIT_S)
        route.stop()
    assert system.counted == [1, 1, 1]


def test_a_file_that_is_refused_leaves_nothing(tmp_path: Path, files: TaskFiles, submitter: Submitter) -> None:
    class Full(SmallSystem):
        def submit(self, upload: Any, **_: Any) -> Any:
            upload.commit()
            upload.discard()
            raise QueueFullError()

    with channel(tmp_path, Full()):
        upload = written(files)
        with pytest.raises(QueueFullError):
            submitter.submit(upload)
        assert left(files) == (["new.part"], [])  # the leader never removes it
        upload.discard()
        submitter._route.stop()
    assert left(files) == ([], [])


def test_so_does_one_that_an_earlier_leader_had_given_its_place(
    tmp_path: Path, files: TaskFiles, submitter: Submitter
) -> None:
    class Strict(SmallSystem):
        def submit(self, upload: Any, **_: Any) -> Any:
            raise QueueFullError()  # before it looks at the file

    upload = written(files)
    files.part_path("new").replace(files.media_path("new"))
    with channel(tmp_path, Strict()):
        with pytest.raises(QueueFullError):
            submitter.submit(upload)
        upload.discard()
        submitter._route.stop()
    assert left(files) == ([], [])


class Failing(SmallSystem):
    """It stores the task and fails before it has answered."""

    def submit(self, upload: Any, **named: Any) -> Any:
        super().submit(upload, **named)
        upload.discard()  # as TaskIntake does when anything fails
        raise StoreBusyError()


@pytest.mark.parametrize("is_leader", [False, True])
def test_a_stored_task_keeps_its_file_when_the_leader_fails_after_it(
    tmp_path: Path, files: TaskFiles, submitter: Submitter, is_leader: bool
) -> None:
    upload = written(files)
    with channel(tmp_path, system := Failing()):
        if is_leader:
            sent = SentFile("new", len(SOUND), upload.sha256, is_stored=True)
            with pytest.raises(StoreBusyError):
                submit_received(system, sent, files, {}, Gate())
        else:
            with pytest.raises(StoreBusyError):
                submitter.submit(upload)
        upload.discard()  # as whoever has received it does
        submitter._route.stop()
    assert left(files) == ([], ["new"])


@pytest.mark.parametrize("was_moved", [True, False], ids=["in media", "in incoming"])
def test_a_leader_that_stops_meanwhile_leaves_the_file_to_the_next_one(
    tmp_path: Path, files: TaskFiles, submitter: Submitter, monkeypatch: pytest.MonkeyPatch, was_moved: bool
) -> None:
    monkeypatch.setattr(channel_server, "STOP_LIMIT_S", 0.0)  # it takes longer to submit than a leader waits for

    class Slow(SmallSystem):
        def submit(self, upload: Any, **_: Any) -> Any:
            if was_moved:
                upload.commit()
            self.begun.set()
            assert self.go_on.wait(LIMIT_S)
            try:
                upload.commit()
            finally:
                upload.discard()
                self.ended.set()
            raise ShuttingDownError()

    slow, system = Slow(), SmallSystem()
    slow.go_on.clear()
    with ThreadPoolExecutor(1) as threads:
        with channel(tmp_path, slow):
            asked = threads.submit(submitter.submit, upload := written(files))
            assert slow.begun.wait(LIMIT_S)
        submitter._route.lead(system)
        assert asked.result(LIMIT_S).task == view_of("new")
        slow.go_on.set()
        assert slow.ended.wait(LIMIT_S)
    upload.discard()
    assert list(system.submitted) == ["new"]
    assert left(files) == ([], ["new"])


def test_a_file_whose_task_may_have_been_stored_is_left_to_the_next_leader(
    tmp_path: Path, files: TaskFiles, submitter: Submitter
) -> None:
    """The database may still make it one, so neither is it asked for nor moved by the leader that does not know."""

    class Uncertain(SmallSystem):
        def __init__(self) -> None:
            super().__init__()
            self.num_submitted = 0

        def submit(self, upload: Any, **_: Any) -> Any:
            self.num_submitted += 1
            upload.commit()
            upload.leave_in_doubt()
            raise CommitUncertainError()

    next_one = SmallSystem()
    with ThreadPoolExecutor(1) as threads:
        with channel(tmp_path, uncertain := Uncertain()) as server:
            asked = threads.submit(submitter.submit, upload := written(files))
            wait_until(lambda: server._in_doubt == {"new"})
            with pytest.raises(AnswerLostError):
                submitter._route.call_once(SUBMIT_FILE, SentFile("new", len(SOUND), "0" * 64, is_stored=True))
            assert left(files) == ([], ["new"])
        with channel(tmp_path, next_one):
            assert asked.result(LIMIT_S).task == view_of("new")
            submitter._route.stop()
    upload.discard()
    assert uncertain.num_submitted == 1
    assert left(files) == ([], ["new"])


def test_a_file_that_was_only_hashed_is_sent_without_its_bytes(
    tmp_path: Path, files: TaskFiles, submitter: Submitter
) -> None:
    class Replaying(SmallSystem):
        def submit(self, upload: Any, **_: Any) -> Submission:
            self.submitted["again"] = upload
            return Submission("view", is_replay=True)  # type: ignore[arg-type]

    sent = ReplayedUpload("again", max_bytes=None)
    sent.write(SOUND)
    with channel(tmp_path, system := Replaying()):
        assert submitter.submit(sent).is_replay
        submitter._route.stop()
    assert system.submitted["again"].sha256 == sent.sha256


def test_what_was_only_hashed_is_compared_however_its_task_is_known(
    tmp_path: Path, files: TaskFiles, submitter: Submitter
) -> None:
    """A link that is sent again is named by the task that it has made; see `web.tasks.links.EarlierFile`."""

    class Comparing(SmallSystem):
        def submit(self, upload: Any, **named: Any) -> Submission:
            if named["filename"] != "as before":
                raise IdempotencyMismatchError()
            return Submission(view_of(upload.task_id), is_replay=True)

    (system := Comparing()).submitted["earlier"] = "by a link"
    sent = ReplayedUpload("earlier", max_bytes=None)
    with channel(tmp_path, system):
        assert submitter.submit(sent, filename="as before").is_replay
        with pytest.raises(IdempotencyMismatchError):
            submitter.submit(sent, filename="another")
        submitter._route.stop()
    route = Route(ChannelClient(tmp_path), SystemClock(), wait_s=LIMIT_S)

    def die(connection: Any, call: Any) -> None:
        dies_in_between(connection, call)
        route.lead(system)

    leader = PlayedLeader(tmp_path, die)
    try:
        assert Submitter(route, files).submit(sent, filename="as before").is_replay
    finally:
        leader.stop()
        route.stop()


def makes_no_task(files: TaskFiles) -> Callable[[Any, Any], None]:
    """The leader dies when the file has its place and the database knows nothing of it."""

    def play(connection: Any, call: Any) -> None:
        send(connection, BEGUN)
        if call.name == SUBMIT_FILE:
            ReceivedPart(call.args[0], files, lambda: True, Gate()).commit()

    return play


@pytest.mark.parametrize("moment", ["before", "in between", "published"])
def test_the_next_leader_makes_the_task_when_the_last_one_has_not(
    tmp_path: Path, files: TaskFiles, submitter: Submitter, moment: str
) -> None:
    play = {"before": dies_before, "in between": dies_in_between, "published": makes_no_task(files)}[moment]
    system = SmallSystem()
    submission = submitted_while_it_dies(tmp_path, files, submitter, play, system)
    assert (submission.task, submission.is_replay) == (view_of("new"), False)
    assert list(system.submitted) == ["new"]
    assert left(files) == ([], ["new"])


def test_the_next_leader_is_asked_for_a_task_that_the_last_one_may_have_made(
    tmp_path: Path, files: TaskFiles, submitter: Submitter
) -> None:
    system = SmallSystem()
    system.submitted["new"] = "made before"
    submission = submitted_while_it_dies(tmp_path, files, submitter, makes_no_task(files), system)
    assert (submission.task, submission.is_replay) == (view_of("new"), False)
    assert system.submitted == {"new": "made before"}
    assert left(files) == ([], ["new"])


@pytest.mark.parametrize("is_part", [False, True])
def test_the_wait_for_the_next_leader_begins_when_the_last_one_is_missed(
    tmp_path: Path, files: TaskFiles, monkeypatch: pytest.MonkeyPatch, is_part: bool
) -> None:
    route = Route(ChannelClient(tmp_path), clock := FakeClock(), wait_s=LIMIT_S)
    system = SmallSystem()
    if is_part:
        system.submitted["new"] = "made before"

    def die_late(*_: Any, **__: Any) -> None:
        clock.advance(10 * LIMIT_S)
        if not is_part or clock.monotonic() - began > 10 * LIMIT_S:
            route.lead(system)
        raise AnswerLostError()

    began = clock.monotonic()
    monkeypatch.setattr(route.client, "call", die_late)
    upload = written(files)
    if is_part:
        sent = SentPart("new", len(SOUND), upload.sha256, {}, None, "me")
        upload = RemoteWhole(Session(route.client, None, sent), sent)  # type: ignore[arg-type]
        monkeypatch.setattr(upload, "submit", die_late)
    assert Submitter(route, files).submit(upload).task == view_of("new")


def submitted_while_it_dies(tmp_path: Path, files: TaskFiles, submitter: Submitter, play: Any, system: Any) -> Any:
    died = threading.Event()

    def then_die(connection: Any, call: Any) -> None:
        play(connection, call)
        died.set()

    leader = PlayedLeader(tmp_path, then_die)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(submitter.submit, written(files))
        assert died.wait(LIMIT_S)
        leader.stop()
        submitter._route.lead(system)
        return asked.result(LIMIT_S)


def test_when_nobody_knows_whether_it_became_a_task_the_file_stays(tmp_path: Path, files: TaskFiles) -> None:
    route = Route(ChannelClient(tmp_path), SystemClock(), wait_s=0.2)
    leader = PlayedLeader(tmp_path, makes_no_task(files))
    upload = written(files)
    try:
        with pytest.raises(NoLeaderError):
            Submitter(route, files).submit(upload)
    finally:
        leader.stop()
        route.stop()
    upload.discard()  # as whoever has received it does
    assert left(files) == ([], ["new"])


def test_nor_does_it_go_when_this_process_stops(tmp_path: Path, files: TaskFiles, submitter: Submitter) -> None:
    def then_stop(connection: Any, call: Any) -> None:
        makes_no_task(files)(connection, call)
        submitter._route.stop()

    leader = PlayedLeader(tmp_path, then_stop)
    upload = written(files)
    try:
        with pytest.raises(ShuttingDownError):
            submitter.submit(upload)
    finally:
        leader.stop()
    upload.discard()
    assert left(files) == ([], ["new"])


@pytest.mark.parametrize(("size", "task_id"), [(3, "new"), (10, "other"), (10, "../../etc/passwd")])
def test_a_file_that_is_not_as_was_said_is_refused(files: TaskFiles, size: int, task_id: str) -> None:
    written(files).hand_over()
    with pytest.raises(FileMissingError):
        ReceivedPart(SentFile(task_id, size, "0" * 64, is_stored=True), files, lambda: True, Gate()).commit()


# --- in parts -------------------------------------------------------------------------------------------------------


class Uploads(SmallSystem):
    def __init__(self, files: TaskFiles) -> None:
        super().__init__()
        self.parts = PartStore(files, SystemClock())
        self.parts.recover(set())


@pytest.fixture
def parts(route: Route) -> RemoteParts:
    return RemoteParts(route)


def test_parts_are_written_through_the_leader(
    tmp_path: Path, files: TaskFiles, parts: RemoteParts, submitter: Submitter
) -> None:
    with channel(tmp_path, system := Uploads(files)):
        assert parts.create("new", len(SOUND), "me", {"filename": "a.wav"}, "key").offset == 0
        with parts.appending("new", 0) as writer:
            writer.write(SOUND[:4])
        assert parts.find_by_key("me", "key").offset == 4  # type: ignore[union-attr]
        with pytest.raises(OffsetMismatchError), parts.appending("new", 0) as writer:
            raise AssertionError("there are bytes already")
        with parts.appending("new", 4) as writer:
            writer.write(SOUND[4:])
        with parts.completing("new") as whole:
            assert (whole.size, whole.key, whole.owner) == (len(SOUND), "key", "me")
            assert whole.details == {"filename": "a.wav"}
            assert submitter.submit(whole).task == view_of("new")
            whole.became("new")
        assert list(system.submitted) == ["new"]
        parts._route.stop()
    assert left(files) == ([], ["new"])


def test_an_upload_is_its_tasks_even_when_the_web_process_dies_while_it_is_made(
    tmp_path: Path, files: TaskFiles, parts: RemoteParts, route: Route
) -> None:
    class Slow(Uploads):
        def submit(self, upload: Any, **named: Any) -> Submission:
            self.begun.set()
            assert self.go_on.wait(LIMIT_S)
            return super().submit(upload, **named)

    with channel(tmp_path, system := Slow(files)) as server:
        parts.create("new", len(SOUND), "me", {})
        with parts.appending("new", 0) as writer:
            writer.write(SOUND)
        system.go_on.clear()
        session = route.client.enter("parts.completing", "new")
        send(session._connection, Call("submit"))
        assert system.begun.wait(LIMIT_S)
        session._connection.close()
        route.client.close()
        system.go_on.set()
        wait_until(lambda: not server._connections)
    assert list(system.submitted) == ["new"]
    assert left(files) == ([], ["new"])
    with pytest.raises(UploadNotFoundError):
        system.parts.status("new")


def test_a_request_goes_on_at_the_next_leader(tmp_path: Path, files: TaskFiles, parts: RemoteParts) -> None:
    with channel(tmp_path, Uploads(files)) as first:
        parts.create("new", len(SOUND), "me", {})
        with parts.appending("new", 0) as writer:
            writer.write(SOUND[:3])
            first.stop()
            with channel(tmp_path, Uploads(files)):
                writer.write(SOUND[3:5])
                writer.write(SOUND[5:])
                assert parts.status("new").is_whole
    assert files.part_path("new").read_bytes() == SOUND


def test_and_over_several_changes_while_one_piece_is_written(
    tmp_path: Path, files: TaskFiles, parts: RemoteParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(_: bytes) -> None:
        raise AnswerLostError()

    losses = iter([True, False, False])
    with channel(tmp_path, Uploads(files)):
        parts.create("new", len(SOUND), "me", {})
        with parts.appending("new", 0) as writer:
            enter = writer._entered

            def entered(context: Any) -> Any:
                write = enter(context)
                return lose if next(losses) else write

            monkeypatch.setattr(writer, "_entered", entered)
            for piece in (SOUND[:4], SOUND[4:]):
                writer._write = lose
                writer.write(piece)
        assert parts.status("new").is_whole
        parts._route.stop()
    assert files.part_path("new").read_bytes() == SOUND


def test_so_it_does_at_this_process_when_that_leads_next(
    tmp_path: Path, files: TaskFiles, parts: RemoteParts, route: Route
) -> None:
    with channel(tmp_path, Uploads(files)) as first:
        parts.create("new", len(SOUND), "me", {})
        with parts.appending("new", 0) as writer:
            writer.write(SOUND[:3])
            first.stop()
            route.lead(Uploads(files))
            writer.write(SOUND[3:])
    with parts.completing("new") as whole:
        assert whole.size == len(SOUND)


def write_with_a_stop(writer: Any, leader: Any) -> None:
    writer.write(SOUND[:3])
    leader.stop()
    writer.write(SOUND[3:])


def test_bytes_that_a_checksum_is_awaited_for_do_not_outlive_their_leader(
    tmp_path: Path, files: TaskFiles, parts: RemoteParts
) -> None:
    checksum = Checksum("sha256", bytes(32))
    with channel(tmp_path, Uploads(files)) as first:
        parts.create("new", len(SOUND), "me", {})
        with pytest.raises(NoLeaderError), parts.appending("new", 0, checksum) as writer:
            write_with_a_stop(writer, first)
    with channel(tmp_path, Uploads(files)):
        assert parts.status("new").offset == 0
        parts._route.stop()
