"""One attempt of a delivery: signed, sent, and its outcome."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from optimizer.automation import signatures
from optimizer.automation.backoff import Outcome
from optimizer.automation.webhook_store import Delivery, WebhookStore
from optimizer.common.clock import Clock
from optimizer.storage.webhook_outbox import CALLBACKS, SETTINGS
from version import PRODUCT_NAME, __version__

if TYPE_CHECKING:
    from optimizer.common.guarded_http import GuardedPost

log = logging.getLogger(__name__)

_OPAQUE_OWNER = re.compile(r"[0-9a-f]{16}")  # of a server without accounts, see web/http/owner.py
_AGENT = re.sub(r"[^A-Za-z0-9.-]+", "-", PRODUCT_NAME)


def account_of(owner: str) -> str:
    """Whose secret signs an owner's callbacks; "": there was no account."""
    return "" if _OPAQUE_OWNER.fullmatch(owner) else owner


class Sender:
    """Any thread."""

    def __init__(
        self, store: WebhookStore, clock: Clock, *, key: Callable[[], bytes], settings_secret: str, allow_private: bool
    ) -> None:
        """key: the server's own. settings_secret: signs what WEBHOOK_URLS get."""
        self._store = store
        self._clock = clock
        self._key = key
        self._settings_secret = settings_secret
        self._allow_private = allow_private

    def make_post(self) -> GuardedPost:
        from optimizer.common.guarded_http import GuardedPost  # urllib3 is loaded with the first delivery

        return GuardedPost(allow_private=self._allow_private)

    def send(self, delivery: Delivery, post: GuardedPost) -> Outcome:
        """Never raises; neither the address nor the answer is logged."""
        from optimizer.common.guarded_http import GuardedHttpError

        try:
            secret = self._secret_of(delivery)
            if secret is None:
                return Outcome(error="removed")
            body = delivery.body.encode()
            signed = signatures.headers_of(secret, delivery.id, int(self._clock.now().timestamp()), body)
            headers = {"Content-Type": "application/json", "User-Agent": f"{_AGENT}/{__version__}", **signed}
            answer = post.send(delivery.url, body, headers)
        except GuardedHttpError as error:
            return Outcome(error=error.code)
        except Exception:
            log.exception("delivery=%s event=webhook_attempt_failed", delivery.id)
            return Outcome(error="internal")
        return Outcome(answer.status, retry_after_s=answer.retry_after_s)

    def _secret_of(self, delivery: Delivery) -> str | None:
        if delivery.webhook_id == CALLBACKS:
            return signatures.secret_of_callbacks(self._key(), account_of(delivery.owner))
        if delivery.webhook_id == SETTINGS:
            return self._settings_secret
        return self._store.secret_of(delivery.webhook_id)
