"""A task of an address in place of a file, where the administrator allows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Request

from errors import InvalidOptionError, UnavailableError
from optimizer.intake.link_fetch import LINK_FIELD, LinkFetcher, Sink
from optimizer.tasks.task import Task
from web.http.client_presence import presence_of
from web.http.context import current_settings, current_system
from web.http.owner import owner_of

Fields = list[tuple[str, str]]


def take_link(fields: Fields) -> tuple[str | None, Fields]:
    """The address, and the fields without it; None where links are off, and then the field stays an unknown one.

    Raises InvalidOptionError.
    """
    if not current_settings().enable_links:
        return None, fields
    links = [text for name, text in fields if name == LINK_FIELD and text.strip()]
    if len(links) > 1:
        raise InvalidOptionError("Send one address in a request.", field=LINK_FIELD)
    return (links[0] if links else None), [(name, text) for name, text in fields if name != LINK_FIELD]


def fetch_link(url: str, request: Request, begin: Callable[[int], Sink]) -> str:
    """Writes what is at the address to what `begin` makes, and returns its name. Raises as `LinkFetcher.fetch`."""
    from optimizer.common.guarded_http import GuardedGet  # urllib3 is loaded with the first link

    settings, owner = current_settings(), owner_of(request)
    admission = current_system().admission
    fetcher = LinkFetcher(
        GuardedGet(allow_private=settings.link_allow_private),
        max_bytes=settings.max_upload_bytes,
        allow_private=settings.link_allow_private,
        begin=begin,
        check=lambda nbytes: admission.check_growing(nbytes, owner),
        is_unwanted=presence_of(request.environ),
    )
    return fetcher.fetch(url).filename


@dataclass(frozen=True)
class EarlierFile:
    """Stands for the file of a link whose Idempotency-Key has made its task: it is not fetched again, since what is
    there now may be another one."""

    task_id: str
    size: int
    sha256: str

    @classmethod
    def of(cls, task: Task) -> EarlierFile:
        return cls(task.id, task.size_bytes, task.sha256)

    def commit(self) -> None:
        raise UnavailableError("The task of this Idempotency-Key was deleted a moment ago. Send the link again.")

    def discard(self) -> None:
        return
