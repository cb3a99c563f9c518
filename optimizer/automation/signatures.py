"""Signatures as standardwebhooks.com describes them: HMAC-SHA256 over the message's id, its time and its body."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    return _written(secrets.token_bytes(SECRET_BYTES))


def secret_of_callbacks(key: bytes, account: str) -> str:
    """What an account's callbacks are signed with. Made of the server's own key, so that it need not be kept.

    account: "" where there are none.
    """
    return _written(hmac.digest(key, b"webhook callbacks of " + account.encode(), hashlib.sha256))


def headers_of(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """secret: as `new_secret` writes it. timestamp: seconds since 1970, of this attempt."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    digest = hmac.digest(b64decode(secret.removeprefix(PREFIX)), signed, hashlib.sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }


def _written(secret: bytes) -> str:
    return PREFIX + b64encode(secret).decode()
