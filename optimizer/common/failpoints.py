"""Places where a test can make the server stop, fail or wait, to prove that it recovers from that.

`failpoint("name")` stands before or after every step that must survive a crash. Only tests call `arm`; in production a
call costs one look at an empty dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Action = Callable[[], None]

FAILPOINTS: tuple[str, ...] = (
    "upload.begin",
    "upload.write",
    "upload.before_sync",
    "upload.before_rename",
    "upload.before_folder_sync",
    "upload.committed",
    "part.write",
    "part.before_sync",
    "note.before_write",
    "note.before_sync",
    "note.before_rename",
    "note.before_folder_sync",
    "note.written",
    "transcript.before_write",
    "transcript.before_sync",
    "transcript.before_rename",
    "transcript.before_folder_sync",
    "transcript.written",
    "files.before_delete",
    "files.deleting",
    "files.deleted",
    "store.begin",
    "store.before_commit",
    "store.after_commit",
    "scheduler.iteration",
    "webhook.before_send",
    "webhook.sent",
    "watch.recorded",
    "watch.submitted",
    "watch.named",
    "watch.before_publish",
    "watch.published",
    "watch.before_original",
    "watch.original",
    "backup.before_rename",
    "restore.before_file",
    "restore.before_rename",
    "schema.before_backup",
    "schema.before_rename",
    "schema.before_folder_sync",
    "schema.before_upgrade",
    "schema.before_commit",
    "move.before_commit",
)

_armed: dict[str, Action] = {}


def failpoint(name: str) -> None:
    """Runs the action that a test armed `name` with, if any. Any thread."""
    if _armed:
        _armed.get(name, _nothing)()


def arm(actions: Mapping[str, Action]) -> None:
    """From now on, these actions run at these failpoints. Raises ValueError for a name that is not in FAILPOINTS."""
    unknown = sorted(set(actions) - set(FAILPOINTS))
    if unknown:
        raise ValueError(f"no such failpoints: {', '.join(unknown)}")
    _armed.update(actions)


def disarm() -> None:
    _armed.clear()


def _nothing() -> None:
    pass
