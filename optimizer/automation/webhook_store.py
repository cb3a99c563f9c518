"""Webhooks and deliveries in the database."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from optimizer.automation.backoff import JITTER, MAX_DELAY_S, Outcome
from optimizer.storage.database import Database
from optimizer.storage.schema import webhook_deliveries as deliveries
from optimizer.storage.schema import webhooks
from optimizer.storage.webhook_outbox import PENDING

DELIVERED, FAILED = "delivered", "failed"


@dataclass(frozen=True)
class Webhook:
    id: str
    owner: str
    url: str
    events: tuple[str, ...]
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True)
class Delivery:
    id: str
    webhook_id: str
    owner: str
    task_id: str | None
    event: str
    url: str
    receiver: str
    body: str
    status: str
    attempts: int
    next_at: float  # seconds since 1970
    created_at: datetime
    last_at: datetime | None
    http_status: int | None
    error: str | None


class WebhookStore:
    """Any thread. Methods raise what Database raises. owner: None for everybody's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, webhook: Webhook, secret: str) -> None:
        values = {
            "id": webhook.id, "owner": webhook.owner, "url": webhook.url, "events": ",".join(webhook.events),
            "secret": secret, "created_at": _text(webhook.created_at),
        }  # fmt: skip
        with self._database.writing() as connection:
            connection.execute(insert(webhooks).values(values))

    def webhooks(self, owner: str | None) -> list[Webhook]:
        query = select(webhooks).where(*_of(webhooks.c.owner, owner)).order_by(webhooks.c.id)
        with self._database.reading() as connection:
            return [_webhook(row) for row in connection.execute(query)]

    def find(self, webhook_id: str, owner: str | None) -> Webhook | None:
        query = select(webhooks).where(webhooks.c.id == webhook_id, *_of(webhooks.c.owner, owner))
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _webhook(row)

    def secret_of(self, webhook_id: str) -> str | None:
        with self._database.reading() as connection:
            secret: str | None = connection.scalar(select(webhooks.c.secret).where(webhooks.c.id == webhook_id))
        return secret

    def remove(self, webhook_id: str) -> None:
        """With its deliveries; those that wait are not sent any more."""
        with self._database.writing() as connection:
            connection.execute(delete(deliveries).where(deliveries.c.webhook_id == webhook_id))
            connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))

    def add_delivery(self, row: dict[str, Any]) -> None:
        with self._database.writing() as connection:
            connection.execute(insert(deliveries).values(row))

    def deliveries(
        self, webhook_id: str, owner: str | None, limit: int = 50, before: str | None = None
    ) -> list[Delivery]:
        """Newest first. before: only those older than the one with that id."""
        query = select(deliveries).where(deliveries.c.webhook_id == webhook_id, *_of(deliveries.c.owner, owner))
        if before is not None:
            query = query.where(deliveries.c.id < before)
        with self._database.reading() as connection:
            return [_delivery(row) for row in connection.execute(query.order_by(deliveries.c.id.desc()).limit(limit))]

    def next_due(self, now: float, running: Collection[str], receivers: Collection[str]) -> Delivery | None:
        """The one that is due first, but none of those that run and none for these receivers.

        One that is due later than any delay can be is due now: the wall clock was set back.
        """
        is_due = (deliveries.c.next_at <= now) | (deliveries.c.next_at > now + (1 + JITTER) * MAX_DELAY_S)
        query = (
            select(deliveries)
            .where(deliveries.c.status == PENDING, is_due)
            .where(deliveries.c.id.not_in(running), deliveries.c.receiver.not_in(receivers))
            .order_by(deliveries.c.next_at, deliveries.c.id)
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _delivery(row)

    def first_due_at(self, after: float) -> float | None:
        """When the next one is due that is not due yet."""
        query = select(func.min(deliveries.c.next_at)).where(
            deliveries.c.status == PENDING, deliveries.c.next_at > after
        )
        with self._database.reading() as connection:
            found: float | None = connection.scalar(query)
        return found

    def record(self, delivery: Delivery, outcome: Outcome, now: datetime, delay_s: float | None) -> None:
        """delay_s: until the next attempt; None when there is none."""
        ended = DELIVERED if outcome.is_delivered else FAILED
        values = {
            "status": ended if delay_s is None else PENDING,
            "attempts": delivery.attempts + 1,
            "next_at": now.timestamp() + (delay_s or 0.0),
            "last_at": _text(now),
            "http_status": outcome.status,
            "error": outcome.error,
        }
        with self._database.writing() as connection:
            connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(values))
            if outcome.is_gone:
                is_it = webhooks.c.id == delivery.webhook_id
                connection.execute(update(webhooks).where(is_it).values(disabled_at=_text(now)))

    def remove_old(self, before: datetime) -> None:
        """Deliveries that ended before then."""
        is_old = (deliveries.c.status != PENDING) & (deliveries.c.last_at < _text(before))
        with self._database.writing() as connection:
            connection.execute(delete(deliveries).where(is_old))


def _of(column: ColumnElement[str], owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [column == owner]


def _webhook(row: Any) -> Webhook:
    return Webhook(
        row.id, row.owner, row.url, tuple(row.events.split(",")), datetime.fromisoformat(row.created_at),
        None if row.disabled_at is None else datetime.fromisoformat(row.disabled_at),
    )  # fmt: skip


def _delivery(row: Any) -> Delivery:
    times = {
        "created_at": datetime.fromisoformat(row.created_at),
        "last_at": None if row.last_at is None else datetime.fromisoformat(row.last_at),
    }
    return Delivery(**{**row._mapping, **times})


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
