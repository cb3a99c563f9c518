"""**Shares**: links to one transcript for people without an account, until a date or until they are revoked.

Whoever has the link can read, so it is a secret: long, random, shown once, and kept as a hash only. What it shows is
the transcript as it is when somebody looks.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from ulid import ULID

from errors import ConflictError, ShareNotFoundError, TaskNotFoundError
from optimizer.common.clock import Clock
from optimizer.common.text import iso_time
from optimizer.storage.database import Database
from optimizer.storage.schema import shares

MOST_OF_A_TASK = 100
TOKEN_BYTES = 24  # 192 bits, so that nobody guesses one


@dataclass(frozen=True, slots=True)
class Share:
    id: str
    task_id: str
    created_at: datetime
    expires_at: datetime | None  # None: it lasts until it is revoked
    has_media: bool  # whether the recording can be heard, too


class Shares:
    """Any thread. Methods raise what Database raises."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, task_id: str, lifetime: timedelta | None, *, has_media: bool) -> tuple[Share, str]:
        """A new link to the task's transcript, and its token, which cannot be asked for again.

        Raises ConflictError for a task that has MOST_OF_A_TASK, TaskNotFoundError for one that was just deleted."""
        token, now = secrets.token_urlsafe(TOKEN_BYTES), self._clock.now()
        share = Share(str(ULID()), task_id, now, None if lifetime is None else now + lifetime, has_media)
        values = {
            "id": share.id, "task_id": task_id, "token_sha256": _hashed(token), "created_at": iso_time(now),
            "expires_at": None if share.expires_at is None else iso_time(share.expires_at), "has_media": int(has_media),
        }  # fmt: skip
        with self._database.writing() as connection:
            connection.execute(delete(shares).where(shares.c.expires_at <= iso_time(now)))
            of_task = select(func.count()).select_from(shares).where(shares.c.task_id == task_id)
            if (connection.scalar(of_task) or 0) >= MOST_OF_A_TASK:
                raise ConflictError(f"A transcript may have {MOST_OF_A_TASK} links. Revoke one first.")
            try:
                connection.execute(insert(shares).values(values))
            except IntegrityError as error:
                raise TaskNotFoundError() from error
        return share, token

    def of_task(self, task_id: str) -> list[Share]:
        """Those that still lead somewhere, oldest first."""
        query = select(shares).where(shares.c.task_id == task_id).order_by(shares.c.id)
        with self._database.reading() as connection:
            found = [_share(row) for row in connection.execute(query)]
        return [share for share in found if not self._is_over(share)]

    def find(self, token: str) -> Share:
        """Raises ShareNotFoundError, also for one that has expired."""
        with self._database.reading() as connection:
            row = connection.execute(select(shares).where(shares.c.token_sha256 == _hashed(token))).first()
        if row is None or self._is_over(share := _share(row)):
            raise ShareNotFoundError()
        return share

    def revoke(self, task_id: str, share_id: str) -> None:
        """Raises ShareNotFoundError unless it is one of that task's."""
        with self._database.writing() as connection:
            gone = connection.execute(delete(shares).where(shares.c.id == share_id, shares.c.task_id == task_id))
        if gone.rowcount == 0:
            raise ShareNotFoundError()

    def _is_over(self, share: Share) -> bool:
        return share.expires_at is not None and share.expires_at <= self._clock.now()


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _share(row: Any) -> Share:
    return Share(
        id=row.id,
        task_id=row.task_id,
        created_at=datetime.fromisoformat(row.created_at),
        expires_at=None if row.expires_at is None else datetime.fromisoformat(row.expires_at),
        has_media=bool(row.has_media),
    )
