"""What the answers of all adapters say in headers: which task it was, and which fields had no effect."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flask import Response

from optimizer.views.task_view import Submission

_QUOTABLE = re.compile(r"[\w.\-\[\]]{1,40}", re.ASCII)
_MOST_IGNORED = 10


def quotable(names: Iterable[str]) -> tuple[str, ...]:
    """Those names of ignored fields that a header can repeat, each once."""
    return tuple([name for name in dict.fromkeys(names) if _QUOTABLE.fullmatch(name)][:_MOST_IGNORED])


def with_task_headers(response: Response, submission: Submission, ignored_fields: tuple[str, ...]) -> Response:
    response.headers["Task-Id"] = submission.task.task.id
    if ignored_fields:
        response.headers["X-Ignored-Fields"] = ", ".join(ignored_fields)
    if submission.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response
