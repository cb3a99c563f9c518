"""What a web process may ask of the leader, by name, and what becomes of a call whose answer was lost.

A name is a path below the system: `task`, or `accounts.of_key`. What is not here is not answered.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from errors import (
    ShareNotFoundError,
    TaskNotFoundError,
    TranscriptionServerError,
    UploadNotFoundError,
    WebhookNotFoundError,
)

# Harmless when done twice, so it is asked of the next leader when the answer was lost.
REPEATABLE = frozenset(
    f"{part}.{name}" if part else name
    for part, names in {
        "": "batches cancel cancel_all change default_model degradations device_names events fetch_model figures"
        " history media models move readiness segments_from set_limits status storage task tasks timeline",
        "accounts": "signing_key",
        "admission": "admit check_growing place",
        "editor": "check history steps",
        "ownership": "counts ids_of owner_of",
        "parts": "find_by_key status",
        "shares": "find of_task",
        "waveforms": "of",
        "webhooks": "all_of callback_secret deliveries",
    }.items()
    for name in names.split()
)
# The same, but the second time it is not there any more, and that is then what was wanted.
REMOVALS: dict[str, type[TranscriptionServerError]] = {
    "delete": TaskNotFoundError,
    "parts.remove": UploadNotFoundError,
    "shares.revoke": ShareNotFoundError,
    "webhooks.remove": WebhookNotFoundError,
}
# Done twice they would do something else. Whoever asked is told that nobody knows whether it was done.
ONCE = frozenset(
    {
        "editor.edit",
        "editor.redo",
        "editor.undo",
        "parts.create",
        "retry",
        "shares.add",
        "webhooks.add",
        "webhooks.test",
    }
)
CALLS = REPEATABLE | frozenset(REMOVALS) | ONCE
CONTEXTS = frozenset({"keys.holding", "parts.appending", "parts.completing"})  # for as long as a request takes
SUBMIT_FILE = "submit_file"  # a file that a web process has written
KEPT_EVENT = "kept_event"  # one that was too large to be told


def resolve(system: object, name: str) -> Any:
    """What the path leads to."""
    return reduce(getattr, name.split("."), system)
