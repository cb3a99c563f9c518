"""Webhooks: addresses that are told when tasks end, as the web package deals with them."""

from __future__ import annotations

from collections.abc import Callable

from ulid import ULID

from errors import ConflictError, WebhookNotFoundError
from optimizer.automation import signatures
from optimizer.automation.sender import account_of
from optimizer.automation.webhook_store import Delivery, Webhook, WebhookStore
from optimizer.common.addresses import checked_url
from optimizer.common.clock import Clock
from optimizer.storage.webhook_outbox import CALLBACKS, PENDING, SETTINGS, message_of, new_delivery

MAX_WEBHOOKS = 20  # of one owner
TEST_EVENT = "webhook.test"


class Webhooks:
    """Any thread. owner: None for somebody who may see everybody's. Methods raise what Database raises."""

    def __init__(
        self, store: WebhookStore, clock: Clock, *, key: Callable[[], bytes], allow_private: bool,
        wake: Callable[[], None],
    ) -> None:  # fmt: skip
        """key: the server's own. wake: called when there is something to send."""
        self._store = store
        self._clock = clock
        self._key = key
        self._allow_private = allow_private
        self._wake = wake

    def add(self, owner: str, url: str, events: tuple[str, ...]) -> tuple[Webhook, str]:
        """The webhook and its secret, which is not shown again. Raises InvalidOptionError, ConflictError."""
        url = checked_url(url, allow_private=self._allow_private, field="url")
        if len(self._store.webhooks(owner)) >= MAX_WEBHOOKS:
            raise ConflictError(f"There are {MAX_WEBHOOKS} webhooks already. Delete one first.")
        webhook = Webhook(f"wh_{ULID()}", owner, url, events, self._clock.now(), None)
        secret = signatures.new_secret()
        self._store.add(webhook, secret)
        return webhook, secret

    def all_of(self, owner: str | None) -> list[Webhook]:
        return self._store.webhooks(owner)

    def remove(self, webhook_id: str, owner: str | None) -> None:
        """Raises WebhookNotFoundError."""
        self._store.remove(self._find(webhook_id, owner).id)

    def test(self, webhook_id: str, owner: str | None) -> Delivery:
        """Sends something to it. Raises WebhookNotFoundError; ConflictError while the last test waits."""
        webhook = self._find(webhook_id, owner)
        latest = self._store.deliveries(webhook.id, None, limit=1)
        if latest and latest[0].event == TEST_EVENT and latest[0].status == PENDING:
            raise ConflictError("The last test is not delivered yet.")
        now = self._clock.now()
        body = message_of(TEST_EVENT, {"webhook_id": webhook.id}, now)
        self._store.add_delivery(new_delivery(webhook.id, webhook.owner, webhook.url, TEST_EVENT, body, now))
        self._wake()
        return self._store.deliveries(webhook.id, None, limit=1)[0]

    def deliveries(self, webhook_id: str, owner: str | None, limit: int, before: str | None) -> list[Delivery]:
        """Newest first. webhook_id: also `callbacks` and, for those who see everybody's, `settings`.

        Raises WebhookNotFoundError.
        """
        if webhook_id == SETTINGS and owner is not None:
            raise WebhookNotFoundError()
        if webhook_id not in (CALLBACKS, SETTINGS):
            self._find(webhook_id, owner)
        return self._store.deliveries(webhook_id, owner, limit, before)

    def callback_secret(self, owner: str) -> str:
        """What the owner's callbacks are signed with."""
        return signatures.secret_of_callbacks(self._key(), account_of(owner))

    def _find(self, webhook_id: str, owner: str | None) -> Webhook:
        webhook = self._store.find(webhook_id, owner)
        if webhook is None:
            raise WebhookNotFoundError()
        return webhook
