"""Uploads at a web process: written here, and made tasks by whoever leads.

A file that comes in one request is written into the shared data folder by the web process that receives it, so the end
of a leader does not disturb it. The bytes of one that comes in parts go through the leader, who keeps the rules on who
may write where; after the end of a leader they go on at the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from errors import CommitUncertainError, NoLeaderError, ShuttingDownError, TaskNotFoundError
from optimizer.leadership.calls import SUBMIT_FILE
from optimizer.leadership.channel_client import AnswerLostError, NotBegunError, Session, no_answer
from optimizer.leadership.messages import SentFile, SentPart
from optimizer.leadership.received import submit_received
from optimizer.leadership.route import Route
from optimizer.storage.part_file import Checksum, PartStatus, WholePart
from optimizer.storage.task_files import TaskFiles
from optimizer.storage.upload_file import Upload
from optimizer.views.task_view import Submission


class Submitter:
    """Makes received files tasks. Any thread."""

    def __init__(self, route: Route, files: TaskFiles) -> None:
        self._route = route
        self._files = files

    def submit(self, upload: Any, **named: Any) -> Submission:
        """Raises what `OptimizedWhisperSystem.submit` raises, and NoLeaderError. Then the file stays, whoever discards
        it, because a task may have been made of it; after any other error the caller is to discard it."""
        if isinstance(upload, WholePart | RemoteWhole):
            return self._submit_part(upload, named)
        if self._route.system is not None:
            return self._here(upload, named)
        sent = SentFile(upload.task_id, upload.size, upload.sha256, is_stored=isinstance(upload, Upload))
        try:
            submission = self._submit_file(sent, named)
        except (NoLeaderError, ShuttingDownError):
            _let_go(upload)
            raise
        if submission.is_replay:
            upload.discard()
        else:
            _let_go(upload)
        return submission

    def _submit_file(self, sent: SentFile, named: dict[str, Any]) -> Submission:
        deadline = None
        while True:
            system = self._route.system
            try:
                if system is not None:
                    return submit_received(system, sent, self._files, named, self._route.gate)
                submission: Submission = self._route.remotely(
                    lambda: self._route.client.call(SUBMIT_FILE, sent, **named)
                )
                return submission
            except (NotBegunError, AnswerLostError):  # by the file's id the next one finds what this one may have made
                deadline = self._route.wait(deadline)

    def _submit_part(self, whole: WholePart | RemoteWhole, named: dict[str, Any]) -> Submission:
        """By whom it was begun: an upload that this process completes as the leader stays its own."""
        if isinstance(whole, WholePart):
            return self._here(whole, named)
        deadline = None
        try:
            return whole.submit(named)
        except (NotBegunError, AnswerLostError, CommitUncertainError):
            pass
        while True:
            try:
                if (made := self._made_of(whole.task_id)) is not None:
                    return made
                raise no_answer()  # whoever sent it asks with an empty last piece
            except (NotBegunError, AnswerLostError):
                deadline = self._route.wait(deadline)

    def _made_of(self, task_id: str) -> Submission | None:
        """The task, when the leader that was lost has made it. Raises as `Route.call_once`."""
        try:
            return Submission(self._route.call_once("task", task_id), is_replay=False)
        except TaskNotFoundError:
            return None

    def _here(self, upload: Any, named: dict[str, Any]) -> Submission:
        submission: Submission = self._route.system.submit(upload, **named)
        return submission


def _let_go(upload: Any) -> None:
    """Of a file that is the task's now, or may be."""
    if isinstance(upload, Upload):
        upload.hand_over()


class RemoteKeys:
    """See IdempotencyKeys. A leader's end frees its keys; which tasks they have made stands in the database."""

    def __init__(self, route: Route) -> None:
        self._route = route

    @contextmanager
    def holding(self, owner: str, key: str | None) -> Iterator[Any]:
        if key is None:
            yield None
            return
        with self._route.enter("keys.holding", owner, key) as earlier:
            yield earlier


class RemoteParts:
    """See PartStore."""

    def __init__(self, route: Route) -> None:
        self._route = route

    def create(self, *args: Any) -> PartStatus:
        status: PartStatus = self._route.call("parts.create", *args)
        return status

    def status(self, part_id: str) -> PartStatus:
        status: PartStatus = self._route.call("parts.status", part_id)
        return status

    def find_by_key(self, owner: str, key: str) -> PartStatus | None:
        found: PartStatus | None = self._route.call("parts.find_by_key", owner, key)
        return found

    def remove(self, part_id: str) -> None:
        self._route.call("parts.remove", part_id)

    @contextmanager
    def appending(self, part_id: str, offset: int, checksum: Checksum | None = None) -> Iterator[Any]:
        """Raises NoLeaderError when the leader ended while a checksum was awaited: what it is of is gone then."""
        context = self._route.enter("parts.appending", part_id, offset, checksum)
        if not isinstance(context, Session):
            with context as own:
                yield own
            return
        with RemoteWriter(self._route, context, part_id, offset, has_checksum=checksum is not None) as writer:
            yield writer

    @contextmanager
    def completing(self, part_id: str) -> Iterator[Any]:
        context = self._route.enter("parts.completing", part_id)
        with context as whole:
            yield RemoteWhole(context, whole) if isinstance(context, Session) else whole


class RemoteWriter:
    """See PartWriter. One thread. When the leader ends, the next one is told to go on where its file is."""

    def __init__(self, route: Route, session: Session, part_id: str, offset: int, *, has_checksum: bool) -> None:
        self._route = route
        self._part_id = part_id
        self._offset = offset  # of what comes next
        self._has_checksum = has_checksum
        self._context: AbstractContextManager[Any] = session
        self._contexts = ExitStack()
        self._write = self._entered(session)

    def _entered(self, context: AbstractContextManager[Any]) -> Any:
        self._context = context
        entered = self._contexts.enter_context(context)
        return (lambda data: context.use("write", data)) if isinstance(context, Session) else entered.write

    def write(self, data: bytes) -> None:
        """Raises what `PartWriter.write` raises, and NoLeaderError."""
        try:
            self._write(data)
        except (NotBegunError, AnswerLostError):
            self.write(self._go_on(data))
        else:
            self._offset += len(data)

    def _go_on(self, data: bytes) -> bytes:
        """At the next leader. Returns what of the data is not there yet."""
        if self._has_checksum:
            raise no_answer() from None
        there = self._route.call("parts.status", self._part_id).offset - self._offset
        if not 0 <= there <= len(data):
            raise no_answer() from None
        self._offset += there
        self._contexts.close()
        self._write = self._entered(self._route.enter("parts.appending", self._part_id, self._offset, None))
        return data[there:]

    def __enter__(self) -> RemoteWriter:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._contexts.__exit__(*raised)
        is_lost = isinstance(self._context, Session) and self._context.is_lost
        if is_lost and self._has_checksum and raised[0] is None:
            raise no_answer()


class RemoteWhole:
    """See WholePart: a resumable upload of which every byte is there, held by the leader."""

    def __init__(self, session: Session, part: SentPart) -> None:
        self._session = session
        self.task_id, self.size, self.sha256 = part.task_id, part.size, part.sha256
        self.details, self.key, self.owner = part.details, part.key, part.owner

    def submit(self, named: dict[str, Any]) -> Submission:
        submission: Submission = self._session.use("submit", **named)
        return submission

    def became(self, task_id: str) -> None:
        """When the leader has ended since, the next one knows by the task."""
        if not self._session.is_lost:
            try:
                self._session.use("became", task_id)
            except (NotBegunError, AnswerLostError):
                return
